import FoundationEssentials

/// A Swift source file as the rules look at it: its lines, and the same lines without comments and text literals.
struct SourceFile: Sendable {
    /// From the package's root: `Sources/Basics/Buffer.swift`.
    let path: String
    /// The lines as they stand.
    let lines: [String]
    /// The lines with every comment and every character of a text literal blanked; interpolated code stays.
    let code: [String]

    init(path: String, text: String) {
        self.path = path
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        code = CodeScanner.blank(text).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// The directory below `Sources` or `Tests`: the target.
    var target: String {
        let parts = path.split(separator: "/")
        return parts.count > 2 ? String(parts[1]) : ""
    }

    /// The last component of the path.
    var name: String { String(path.split(separator: "/").last ?? "") }

    /// Every Swift file of the package below `Sources` or `Tests`, in the order of their paths; read once for all tests.
    static func all(below directory: String) throws -> [SourceFile] {
        try (directory == "Tests" ? tests : sources).get()
    }

    private static let sources = Result { try read(below: "Sources") }
    private static let tests = Result { try read(below: "Tests") }

    private static func read(below directory: String) throws -> [SourceFile] {
        let root = packageRoot
        let found = try FileManager.default.subpathsOfDirectory(atPath: root + "/" + directory)
        return try found.filter {
            $0.hasSuffix(".swift") && !$0.contains(".docc/") && !$0.contains(".build") && !$0.contains("/Generated/")
        }.sorted()
            .map { path in
                let bytes = try Data(contentsOf: URL(filePath: "\(root)/\(directory)/\(path)"))
                return SourceFile(path: "\(directory)/\(path)", text: String(decoding: bytes, as: UTF8.self))
            }
    }

    /// The directory that holds `Package.swift`, found from this file.
    static var packageRoot: String {
        #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
    }
}

/// Blanks what is not code, so that a rule never stumbles over a word in a comment or a message.
///
/// Knows nested comments, text literals of one and of many lines, with number signs, and code interpolated in them.
/// Regular expressions between slashes it takes for code.
struct CodeScanner {
    private enum Place {
        /// Code; inside an interpolation, how many parentheses are open.
        case code(open: Int)
        case text(signs: Int, quotes: Int)
        case lineComment
        case blockComment(depth: Int)
    }

    private let input: [UInt8]
    private var output: [UInt8] = []
    private var position = 0
    private var places: [Place] = [.code(open: 0)]

    /// `text` with blanks in place of what is not code, line by line as long as before.
    static func blank(_ text: String) -> String {
        var scanner = CodeScanner(input: Array(text.utf8))
        while scanner.position < scanner.input.count { scanner.step() }
        return String(decoding: scanner.output, as: UTF8.self)
    }

    private init(input: [UInt8]) {
        self.input = input
        output.reserveCapacity(input.count)
    }

    private func starts(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { input[position...].starts(with: $0) }
    }

    private mutating func keep(_ count: Int = 1) {
        output += input[position..<position + count]
        position += count
    }

    private mutating func drop(_ count: Int = 1) {
        for byte in input[position..<min(position + count, input.count)] {
            output.append(byte == UInt8(ascii: "\n") ? byte : UInt8(ascii: " "))
        }
        position += count
    }

    private mutating func step() {
        switch places[places.count - 1] {
        case .code(let open): stepInCode(open: open)
        case .text(let signs, let quotes): stepInText(signs: signs, quotes: quotes)
        case .lineComment:
            if input[position] == UInt8(ascii: "\n") { places.removeLast() }
            drop()
        case .blockComment(let depth):
            if starts("*/") {
                places[places.count - 1] = .blockComment(depth: depth - 1)
                if depth == 1 { places.removeLast() }
                drop(2)
            } else if starts("/*") {
                places[places.count - 1] = .blockComment(depth: depth + 1)
                drop(2)
            } else {
                drop()
            }
        }
    }

    private mutating func stepInCode(open: Int) {
        if starts("//") {
            places.append(.lineComment)
            return drop(2)
        }
        if starts("/*") {
            places.append(.blockComment(depth: 1))
            return drop(2)
        }
        let signs = input[position...].prefix { $0 == UInt8(ascii: "#") }.count
        if position + signs < input.count, input[position + signs] == UInt8(ascii: "\"") {
            let quotes = input[(position + signs)...].prefix { $0 == UInt8(ascii: "\"") }.count
            if quotes == 2 { return keep(signs + 2) }
            places.append(.text(signs: signs, quotes: quotes >= 3 ? 3 : 1))
            return keep(signs + (quotes >= 3 ? 3 : 1))
        }
        if places.count > 1 {
            if input[position] == UInt8(ascii: "(") { places[places.count - 1] = .code(open: open + 1) }
            if input[position] == UInt8(ascii: ")") {
                places[places.count - 1] = .code(open: open - 1)
                if open == 1 { places.removeLast() }
            }
        }
        keep()
    }

    private mutating func stepInText(signs: Int, quotes: Int) {
        let rest = input[position...]
        if rest.first == UInt8(ascii: "\\"), rest.dropFirst().prefix(signs).allSatisfy({ $0 == UInt8(ascii: "#") }) {
            let next = position + 1 + signs
            if next < input.count, input[next] == UInt8(ascii: "(") {
                drop(1 + signs)
                places.append(.code(open: 1))
                return keep()
            }
            return drop(2 + signs)
        }
        let closes = rest.prefix { $0 == UInt8(ascii: "\"") }.count >= quotes
        if closes, rest.dropFirst(quotes).prefix(signs).filter({ $0 == UInt8(ascii: "#") }).count == signs {
            places.removeLast()
            return keep(quotes + signs)
        }
        // not closed: the compiler will say so
        if quotes == 1, rest.first == UInt8(ascii: "\n") { places.removeLast() }
        drop()
    }
}
