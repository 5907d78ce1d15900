import Testing

/// Each rule sees a planted violation, at its line, and leaves alone what only looks like one.
@Suite("Architecture rules")
struct RuleTests {
    private func file(_ text: String, path: String = "Sources/Chunking/Cut.swift") -> SourceFile {
        SourceFile(path: path, text: text)
    }

    private func lines(_ violations: [Violation]) -> [Int] { violations.map(\.line) }

    @Test("Comments and text are blanked, interpolated code is not")
    func scanner() {
        let text = """
            let a = "try!" // try!
            /* try! /* nested */ try! */ let b = 1
            let c = "x \\(work("try!", try!)) try!"
            let d = #"raw " \\(try!) \\#(fine()) try!"# + ""
            let e = \"\"\"
              try! " ""
              \"\"\" + try!
            """
        let code = file(text).code
        #expect(code.count == 7)
        #expect(code[0] == #"let a = "    "        "#)
        #expect(code[1].hasSuffix("let b = 1"))
        #expect(code[1].firstRange(of: "try!") == nil)
        #expect(code[2].split(separator: " ").contains("try!))"))
        #expect(code[2].ranges(of: "try!").count == 1)
        #expect(code[3].firstRange(of: "fine()") != nil)
        #expect(code[3].firstRange(of: "try!") == nil)
        #expect(code[5].allSatisfy { $0 == " " })
        #expect(code[6].ranges(of: "try!").count == 1)
    }

    @Test(
        "Imports that the table does not name",
        arguments: [
            ("Sources/Chunking/A.swift", "internal import ObjectStorage", false),
            ("Sources/Chunking/A.swift", "internal import Basics", true),
            ("Sources/Chunking/A.swift", "package import struct Repository.Chunk", false),
            ("Sources/Chunking/A.swift", "@preconcurrency internal import Snapshots.Sub", false),
            ("Sources/Chunking/A.swift", "    internal import Glibc", true),
            ("Sources/Chunking/A.swift", "// internal import Repository", true),
            ("Sources/Chunking/A.swift", "let text = \"internal import Repository\"", true),
            ("Sources/Chunking/A.swift", "internal import FoundationEssentials", false),
            ("Sources/Basics/A.swift", "internal import Logging", false),
            ("Sources/Repository/A.swift", "internal import CZstd", false),
            ("Sources/Compression/A.swift", "internal import CZstd", true),
            ("Sources/HTTPTransport/A.swift", "internal import COpenSSL", false),
            ("Sources/Snapshots/A.swift", "internal import Foundation", false),
            ("Sources/Snapshots/A.swift", "internal import FoundationNetworking", false),
            ("Sources/Repository/A.swift", "internal import S3ObjectStorage", false),
            ("Sources/Unheard/A.swift", "internal import Basics", false),
        ])
    func imports(path: String, text: String, isAllowed: Bool) {
        let violations = Rules.imports(file(text, path: path), rows: ImportTable.rows, undecided: [:])
        #expect(violations.isEmpty == isAllowed, "\(violations)")
        #expect(violations.allSatisfy { $0.path == path && $0.line == 1 })
    }

    @Test("An undecided arrow is let pass, and only that one")
    func undecided() {
        let text = "internal import Repository\ninternal import Snapshots"
        let some = Rules.imports(file(text), rows: ImportTable.rows, undecided: ["Chunking": ["Repository"]])
        #expect(lines(some) == [2])
        #expect(lines(Rules.imports(file(text), rows: ImportTable.rows, undecided: [:])) == [1, 2])
    }

    @Test("An import without an access level")
    func access() {
        #expect(
            lines(Rules.importAccess(file("internal import Basics\nimport Basics\n@testable import Basics"))) == [2, 3])
    }

    @Test("A file of 601 lines")
    func length() {
        #expect(Rules.length(file(String(repeating: "\n", count: 600))).isEmpty)
        #expect(lines(Rules.length(file(String(repeating: "\n", count: 601)))) == [601])
        #expect(lines(Rules.length(file(String(repeating: "x\n", count: 600) + "x"))) == [601])
    }

    @Test(
        "Banned calls",
        arguments: [
            ("let now = Date()", true), ("let now = UpDate()", false), ("let x = try! load()", true),
            ("fatalError(\"no\")", true), ("print(1)", true), ("table.print(1)", false), ("fingerprint(1)", false),
            ("String(format: \"%d\", 1)", true), ("Task { await work() }", true), ("group.addTask { }", false),
            ("Task.detached { }", true), ("sleep(1)", true), ("usleep(1)", true),
            ("Task.sleep(for: .seconds(1))", false),
            ("clock.sleep(1)", false), ("func sleep(_ seconds: Int) {}", false),
            ("Thread.sleep(forTimeInterval: 1)", true),
            ("gettimeofday(&now, nil)", true), ("internal import FoundationNetworking", true),
            ("// print(1)", false), ("let text = \"print(1)\"", false), ("let text = \"\\(print(1))\"", true),
        ])
    func bannedCalls(text: String, isBanned: Bool) {
        #expect(lines(Rules.bannedCalls(file("\n" + text))) == (isBanned ? [2] : []), "\(text)")
    }

    @Test("A ban has its exceptions, by path")
    func exceptions() {
        #expect(Rules.bannedCalls(file("print(1)", path: "Sources/Commands/A.swift")).isEmpty)
        #expect(Rules.bannedCalls(file("Task { }", path: "Sources/Basics/BlockingBridge.swift")).isEmpty)
        #expect(lines(Rules.bannedCalls(file("Task { }", path: "Sources/Basics/Other.swift"))) == [1])
    }

    @Test("Words for later, in comments too")
    func leftovers() {
        let marks = ["TO" + "DO", "FIX" + "ME"]
        for mark in marks {
            #expect(lines(Rules.leftovers(file("let a = 1\n// \(mark): later"))) == [2])
            #expect(Rules.leftovers(file("let AUTO\(mark)S = 1")).isEmpty)
        }
    }

    @Test(
        "Declarations that need a doc comment",
        arguments: [
            ("package func cut() {", true), ("    package static let most = 3", true),
            ("package struct Cut: Sendable {", true),
            ("public final class Cutter {", true), ("package mutating func next2() {}", true),
            ("package enum Kind {", true),
            ("package var isEmpty: Bool { true }", true), ("package typealias Digest = [UInt8]", true),
            ("package subscript(index: Int) -> Int {", true), ("package protocol Store {", true),
            ("package nonisolated func go() {", true), ("package static func == (a: Self, b: Self) -> Bool {", false),
            ("package var description: String { \"\" }", false), ("package let count: Int", false),
            ("package private(set) var count = 0", false), ("package init(count: Int) {", false),
            ("package extension Store {", false), ("func cut() {", false), ("private func cut() {", false),
            ("package override func cut() {", false), ("package import Basics", false),
            ("let package = Package()", false),
            ("package func hash(into hasher: inout Hasher) {", false),
        ])
    func documentation(text: String, isNeeded: Bool) {
        #expect(lines(Rules.documentation(file("\n" + text))) == (isNeeded ? [2] : []), "\(text)")
        #expect(Rules.documentation(file("/// Says what.\n" + text)).isEmpty)
        #expect(Rules.documentation(file("/// Says what.\n@discardableResult\n" + text)).isEmpty)
        #expect(lines(Rules.documentation(file("// No doc comment.\n" + text))) == (isNeeded ? [2] : []))
        #expect(lines(Rules.documentation(file("/// Of something else.\n\n" + text))) == (isNeeded ? [3] : []))
    }

    @Test("A comment speaks for the group below it, up to an empty line or a longer declaration")
    func groups() {
        let group = "/// Both.\npackage static let a = 1\npackage static let b = 2\n\npackage static let c = 3"
        #expect(lines(Rules.documentation(file(group))) == [5])
        let long = "/// One.\npackage func a() {\n    work()\n}\npackage func b() {}"
        #expect(lines(Rules.documentation(file(long))) == [5])
        let record = "/// A record.\npackage struct R {\n    package static let size = 1\n}"
        #expect(lines(Rules.documentation(file(record))) == [3])
    }

    @Test("What a protocol of the package demands needs no comment at its witness")
    func requirements() {
        let text = """
            package protocol Store: Sendable {
                /// Gets.
                func get(_ key: String) -> Int
                /// Where.
                var place: String { get }
                static func make() -> Self
            }
            package struct Other { package func other() {} }
            """
        let names = Rules.requirements([file(text)])
        #expect(names == ["get", "place", "make"])
        let witness = file("package func get(_ key: String) -> Int { 1 }\n\npackage func other() {}")
        #expect(lines(Rules.documentation(witness, exempt: names)) == [3])
    }

    @Test("A violation says where it is")
    func text() {
        let violation = Violation(path: "Sources/A/B.swift", line: 7, message: "no")
        #expect(violation.description == "Sources/A/B.swift:7: no")
    }
}
