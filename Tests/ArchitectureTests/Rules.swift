/// A place where the sources break a rule of the house, with what to do about it.
struct Violation: Hashable, Sendable, CustomStringConvertible {
    var path: String
    /// From 1.
    var line: Int
    var message: String

    var description: String { "\(path):\(line): \(message)" }
}

/// The rules, each a function from a source file to what is wrong with it.
///
/// They look at lines, not at a syntax tree: cheap, good enough for code laid out by one formatter, and each is shown a
/// planted violation in `RuleTests`.
enum Rules {
    /// The modules that a file imports, with their lines.
    static func importedModules(_ file: SourceFile) -> [(line: Int, module: String, words: [Substring])] {
        file.code.enumerated().compactMap { index, line in
            let words = line.split { $0 == " " || $0 == "\t" }
            guard let position = words.firstIndex(of: "import"), position + 1 < words.count,
                words[..<position].allSatisfy({ $0.hasPrefix("@") || accessLevels.contains(String($0)) })
            else { return nil }
            // `import struct M.T` names the module second.
            let kinds: Set<Substring> = ["struct", "class", "enum", "func", "var", "let", "protocol", "typealias"]
            let named = kinds.contains(words[position + 1]) && position + 2 < words.count
            let module = words[position + (named ? 2 : 1)].split(separator: ".").first.map(String.init) ?? ""
            return (index + 1, module, Array(words[..<position]))
        }
    }

    private static let accessLevels: Set<String> = ["public", "package", "internal", "fileprivate", "private"]

    /// A target imports only what its row names.
    static func imports(
        _ file: SourceFile, rows: [String: Set<String>], undecided: [String: Set<String>]
    ) -> [Violation] {
        guard let row = rows[file.target] else {
            return [
                Violation(
                    path: file.path, line: 1,
                    message: "\(file.target) has no row in the import table; add one there and to the design")
            ]
        }
        return importedModules(file).compactMap { line, module, _ in
            if let owner = ImportTable.ownerOfC[module], owner != file.target {
                return Violation(
                    path: file.path, line: line,
                    message: "only \(owner) may import \(module); call what \(owner) wraps around it")
            }
            let allowed = row.union(ImportTable.everywhere).union(undecided[file.target] ?? [])
            guard !allowed.contains(module), module != file.target else { return nil }
            return Violation(
                path: file.path, line: line,
                message: "\(file.target) may not import \(module); move the code to a target that may, or make it a "
                    + "design change: the table in the design, in the architecture page and in ImportTable.swift")
        }
    }

    /// Every import says how far it reaches.
    static func importAccess(_ file: SourceFile) -> [Violation] {
        guard !file.path.hasPrefix("Sources/becalm/"), !file.path.hasPrefix("Sources/velero-plugin-becalm/") else {
            return []
        }
        return importedModules(file).compactMap { line, module, words in
            guard words.allSatisfy({ $0.hasPrefix("@") }) else { return nil }
            return Violation(
                path: file.path, line: line,
                message:
                    "write `internal import \(module)`, or `package import` when package declarations use its types")
        }
    }

    /// A file has at most so many lines.
    static let mostLines = 600

    /// A file is short enough to be read at once.
    static func length(_ file: SourceFile) -> [Violation] {
        let count = file.lines.last == "" ? file.lines.count - 1 : file.lines.count
        guard count > mostLines else { return [] }
        return [
            Violation(
                path: file.path, line: mostLines + 1,
                message: "\(count) lines; at most \(mostLines): give a part of it a file of its own")
        ]
    }

    /// A call nobody may make, where it may be made all the same, and what to do instead.
    struct Ban: Sendable {
        var call: String
        /// The call begins a word: `sleep(` does not stand in `usleep(`; a dot before it is no hit either.
        var isWord = true
        var allowed: @Sendable (SourceFile) -> Bool = { _ in false }
        var instead: String
    }

    static let bans: [Ban] = [
        Ban(call: "Date()", instead: "take a clock as a parameter: Basics' WallClock"),
        Ban(call: "Date.now", instead: "take a clock as a parameter: Basics' WallClock"),
        Ban(call: "gettimeofday(", instead: "take a clock as a parameter: Basics' WallClock"),
        Ban(call: "time(nil)", instead: "take a clock as a parameter: Basics' WallClock"),
        Ban(call: "try!", instead: "throw, or handle the error"),
        Ban(call: "fatalError(", instead: "throw an error; for a fault of the program itself, precondition"),
        Ban(
            call: "print(", allowed: { $0.target == "Commands" },
            instead: "log, or return the text: only Commands writes to standard output"),
        Ban(call: "String(format:", instead: "interpolate, or use Basics: it drags in all of Foundation and ICU"),
        Ban(
            call: "Task {",
            allowed: { ["Sources/Basics/BlockingBridge.swift", "Sources/Basics/OwnedTask.swift"].contains($0.path) },
            instead: "use a task group, BlockingBridge or OwnedTask: nobody waits for a bare task"),
        Ban(
            call: "Task.detached", allowed: { $0.path == "Sources/Basics/BlockingBridge.swift" },
            instead: "use a task group, or BlockingBridge: nobody waits for a bare task"),
        Ban(call: "sleep(", instead: "wait for the event, or for an injected clock"),
        Ban(call: "usleep(", instead: "wait for the event, or for an injected clock"),
        Ban(call: "nanosleep(", instead: "wait for the event, or for an injected clock"),
        Ban(call: "Thread.sleep", instead: "wait for the event, or for an injected clock"),
        Ban(call: "FoundationNetworking", instead: "use HTTPTransport: there is one user of libcurl"),
    ]

    /// Nobody calls what the house does without.
    static func bannedCalls(_ file: SourceFile) -> [Violation] {
        file.code.enumerated().flatMap { index, line in
            bans.compactMap { ban in
                guard !ban.allowed(file), contains(line, ban.call, asWord: ban.isWord) else { return nil }
                return Violation(path: file.path, line: index + 1, message: "no `\(ban.call)` here: \(ban.instead)")
            }
        }
    }

    /// Whether `text` stands in `line`, not as the end of a longer name nor as a member of something; a declaration of
    /// a function of that name is none of its calls.
    static func contains(_ line: String, _ text: String, asWord: Bool) -> Bool {
        var rest = line[...]
        while let range = rest.firstRange(of: text) {
            let before = line[..<range.lowerBound].last
            let isMember = before == "." || before.map { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "`" } ?? false
            let isDeclaration = line[..<range.lowerBound].hasSuffix("func ")
            if !asWord || !(isMember || isDeclaration) { return true }
            rest = rest[range.upperBound...]
        }
        return false
    }

    /// Nothing is left for later.
    static func leftovers(_ file: SourceFile) -> [Violation] {
        // Put together, so that this file does not find itself.
        let marks = ["TO" + "DO", "FIX" + "ME"]
        return file.lines.enumerated().flatMap { index, line in
            marks.filter { contains(line, $0, asWord: true) }.map {
                Violation(path: file.path, line: index + 1, message: "\($0): do it now, or file an issue")
            }
        }
    }

    /// Witnesses of protocols of the standard library and the argument parser, whose meaning the protocol says.
    static let witnesses: Set<String> = [
        "description", "debugDescription", "hash", "==", "<", "encode", "next", "makeIterator", "deinit", "startIndex",
        "endIndex", "rawValue", "id", "configuration", "run", "validate", "defaultValueDescription", "allValueStrings",
    ]

    /// The names of what the package's own protocols demand, which is documented there and not again at each witness.
    static func requirements(_ files: [SourceFile]) -> Set<String> {
        var names: Set<String> = []
        for file in files {
            var depth: Int?
            for line in file.code {
                let words = line.split { $0 == " " || $0 == "\t" }
                if depth == nil, words.contains("protocol"), line.contains("{") {
                    depth = 0
                } else if depth == 1, let member = Declaration("package " + line),
                    ["func", "var"].contains(member.kind)
                {
                    names.insert(member.name)
                }
                if let now = depth {
                    let after = now + line.count { $0 == "{" } - line.count { $0 == "}" }
                    depth = after == 0 ? nil : after
                }
            }
        }
        return names
    }

    /// Every `package` or `public` declaration has a doc comment.
    ///
    /// A comment speaks for the declarations of one line each that follow its own without an empty line, as the members
    /// of a group do. Exempt are extensions and cases; witnesses of protocols and what says `override`, for the protocol
    /// and the overridden member say it; initializers and stored properties, for which the comment of their type often
    /// says all. That no rule can judge, so reviewers do. Methods, computed properties, static members and types are
    /// never exempt.
    static func documentation(_ file: SourceFile, exempt: Set<String> = witnesses) -> [Violation] {
        var isGroup = false
        return file.code.indices.compactMap { index in
            guard let declared = Declaration(file.code[index]), !declared.isExempt(witnesses: exempt) else {
                let line = file.lines[index]
                if !isSingle(file.code[index]) || line.allSatisfy({ $0 == " " }) { isGroup = false }
                if isComment(line) { isGroup = true }
                return nil
            }
            // Attributes and conditions may stand between the comment and the declaration.
            var above = index - 1
            while above >= 0, isAttribute(file.code[above]), !isComment(file.lines[above]) { above -= 1 }
            let isDocumented = isGroup || (above >= 0 && isComment(file.lines[above]))
            isGroup = isDocumented && isSingle(file.code[index])
            guard !isDocumented else { return nil }
            return Violation(
                path: file.path, line: index + 1,
                message:
                    "`\(declared.name)` has no doc comment: say what it is for, its units, what it throws and when, "
                    + "who may call it from where")
        }
    }

    private static func isComment(_ line: String) -> Bool {
        line.drop { $0 == " " || $0 == "\t" }.hasPrefix("///") || line.hasSuffix("*/")
    }

    /// Whether a declaration ends on the line it begins on.
    private static func isSingle(_ line: String) -> Bool {
        guard line.count(where: { $0 == "{" }) == line.count(where: { $0 == "}" }) else { return false }
        return line.count { $0 == "(" || $0 == "[" } == line.count { $0 == ")" || $0 == "]" }
    }

    private static func isAttribute(_ line: String) -> Bool {
        let text = line.drop { $0 == " " || $0 == "\t" }
        return text.hasPrefix("@") || text.hasPrefix("#if") || text.hasPrefix("#else") || text.hasPrefix("#endif")
    }
}

/// The declaration that a line begins, if it is `package` or `public`.
struct Declaration {
    /// `func`, `var`, `struct` and so on.
    var kind: String
    var name: String
    var isStatic = false
    var isOverride = false
    var isComputed = false

    private static let kinds: Set<String> = [
        "func", "var", "let", "struct", "class", "enum", "protocol", "actor", "typealias", "init", "subscript",
        "extension",
        "case", "associatedtype", "macro", "operator",
    ]

    /// Reads a line without comments and text; nil unless it begins such a declaration.
    init?(_ code: String) {
        let words = code.split { $0 == " " || $0 == "\t" }.map(String.init)
        let modifiers: (String) -> Bool = { word in
            word.hasPrefix("@")
                || word.hasSuffix(")") && (word.hasPrefix("nonisolated(") || word.hasPrefix("package(set"))
                || [
                    "package", "public", "open", "static", "final", "override", "mutating", "nonmutating", "indirect",
                    "borrowing", "consuming", "nonisolated", "required", "convenience", "lazy", "weak", "unowned",
                    "isolated",
                    "prefix", "postfix", "infix", "unsafe", "sending", "distributed", "dynamic", "class",
                    "private(set)",
                    "fileprivate(set)", "internal(set)",
                ].contains(word)
        }
        var position = 0
        while position < words.count, modifiers(words[position]) {
            // `class func` is a modifier; `class Name` is the declaration.
            if words[position] == "class", position + 1 < words.count, !["func", "var"].contains(words[position + 1]) {
                break
            }
            position += 1
        }
        guard words[..<position].contains(where: { ["package", "public", "open"].contains($0) }), position < words.count
        else { return nil }
        let word = words[position]
        let head = String(word.prefix { $0.isLetter })
        guard Self.kinds.contains(head) else { return nil }
        kind = head
        let rest = position + 1 < words.count ? words[position + 1] : head
        let named = head == "init" || head == "subscript" ? head : rest
        let plain = named.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
        name = plain.isEmpty ? String(named.prefix { $0 != "(" }) : String(plain)
        isStatic = words[..<position].contains("static") || words[..<position].contains("class")
        isOverride = words[..<position].contains("override")
        isComputed = kind == "var" && code.contains("{") && !code.contains("=")
    }

    /// Whether it needs no comment of its own; see `Rules.documentation`.
    func isExempt(witnesses: Set<String>) -> Bool {
        if isOverride || ["extension", "case", "init"].contains(kind) || witnesses.contains(name) { return true }
        return ["let", "var"].contains(kind) && !isStatic && !isComputed
    }
}
