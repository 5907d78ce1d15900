/// Reads a label selector's text form.
struct LabelSelectorParser {
    private enum Token: Hashable {
        case word(String)
        case comma, open, close, equals, differs, not, greater, less, end
    }

    private let text: String
    private var tokens: [Token] = []
    private var position = 0

    /// Characters of text that are taken: the API's own limit is that of an address.
    private static let maximumBytes = 64 << 10

    init(_ text: String) {
        self.text = text
        var rest = Substring(text)
        while let character = rest.first {
            if rest.hasPrefix("==") || rest.hasPrefix("!=") {
                tokens.append(character == "!" ? .differs : .equals)
                rest = rest.dropFirst(2)
                continue
            }
            switch character {
            case ",": tokens.append(.comma)
            case "(": tokens.append(.open)
            case ")": tokens.append(.close)
            case "=": tokens.append(.equals)
            case "!": tokens.append(.not)
            case ">": tokens.append(.greater)
            case "<": tokens.append(.less)
            case " ", "\t", "\n", "\r", "\r\n": break
            default:
                let word = rest.prefix { !" \t\n\r,()=!<>".contains($0) && $0 != "\r\n" }
                tokens.append(.word(String(word)))
                rest = rest.dropFirst(word.count)
                continue
            }
            rest = rest.dropFirst()
        }
        tokens.append(.end)
    }

    private func malformed(_ what: String) -> LabelSelector.Malformed {
        let shown = text.count > 200 ? "\(text.prefix(200))…" : text
        return LabelSelector.Malformed(message: "the label selector `\(shown)` is malformed: \(what)")
    }

    private var next: Token { tokens[position] }

    /// Steps over `token` if it is next.
    private mutating func take(_ token: Token) -> Bool {
        guard next == token else { return false }
        if token != .end { position += 1 }
        return true
    }

    private mutating func takeWord() -> String? {
        guard case .word(let word) = next else { return nil }
        position += 1
        return word
    }

    mutating func parse() throws(LabelSelector.Malformed) -> [LabelSelector.Requirement] {
        guard text.utf8.count <= Self.maximumBytes else { throw malformed("it has more than 64 KiB") }
        if take(.end) { return [] }
        var requirements: [LabelSelector.Requirement] = []
        repeat {
            requirements.append(try requirement())
        } while take(.comma)
        guard take(.end) else {
            throw malformed("a comma or the end is expected behind `\(requirements.last?.key ?? "")`")
        }
        return requirements
    }

    private mutating func requirement() throws(LabelSelector.Malformed) -> LabelSelector.Requirement {
        let isNegated = take(.not)
        guard let key = takeWord() else { throw malformed("a label's name is expected") }
        guard Self.isKey(key) else { throw malformed("`\(key)` is no name of a label") }
        if isNegated { return LabelSelector.Requirement(key, .doesNotExist) }
        let operation: LabelSelector.Requirement.Operation
        switch next {
        case .equals, .differs:
            let equals = take(.equals)
            if !equals { position += 1 }
            let value = takeWord() ?? ""
            try check(value)
            operation = equals ? .isIn([value]) : .isNotIn([value])
        case .greater, .less:
            let isGreater = take(.greater)
            if !isGreater { position += 1 }
            guard let bound = takeWord().flatMap({ Int64($0) }) else {
                throw malformed("an integer is expected behind `\(key)`")
            }
            operation = isGreater ? .isGreater(bound) : .isLess(bound)
        case .word("in"):
            position += 1
            operation = .isIn(try values(key))
        case .word("notin"):
            position += 1
            operation = .isNotIn(try values(key))
        default: operation = .exists
        }
        return LabelSelector.Requirement(key, operation)
    }

    private mutating func values(_ key: String) throws(LabelSelector.Malformed) -> [String] {
        guard take(.open) else { throw malformed("`(` is expected behind `\(key) in`") }
        var values: [String] = []
        repeat {
            // An empty place is the empty value.
            let value = takeWord() ?? ""
            try check(value)
            values.append(value)
        } while take(.comma)
        guard take(.close) else { throw malformed("`)` is expected behind the values of `\(key)`") }
        return values
    }

    private func check(_ value: String) throws(LabelSelector.Malformed) {
        guard value.isEmpty || Self.isName(value) else { throw malformed("`\(value)` is no value of a label") }
    }

    /// Whether it is a qualified name: `NAME` or `DOMAIN/NAME` (apimachinery, `IsQualifiedName`).
    static func isKey(_ key: String) -> Bool {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        switch parts.count {
        case 1: return isName(key)
        case 2:
            let labels = parts[0].split(separator: ".", omittingEmptySubsequences: false)
            return parts[0].utf8.count <= 253 && isName(String(parts[1]))
                && labels.allSatisfy { label in
                    isName(String(label)) && label.utf8.allSatisfy { !isUpper($0) && $0 != UInt8(ascii: "_") }
                }
        default: return false
        }
    }

    /// Whether it is a name or value of a label: 1 to 63 letters, digits, `-`, `_` and `.`, a letter or digit at both
    /// ends.
    static func isName(_ text: String) -> Bool {
        guard (1...63).contains(text.utf8.count), let first = text.utf8.first, let last = text.utf8.last else {
            return false
        }
        return isAlphanumeric(first) && isAlphanumeric(last)
            && text.utf8.allSatisfy { isAlphanumeric($0) || "-_.".utf8.contains($0) }
    }

    private static func isUpper(_ byte: UInt8) -> Bool { (0x41...0x5a).contains(byte) }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || isUpper(byte) || (0x61...0x7a).contains(byte)
    }
}
