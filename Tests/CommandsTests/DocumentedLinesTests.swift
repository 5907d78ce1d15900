import ArgumentParser
import Commands
import Foundation
import Kubernetes
import Testing

/// Command lines that people and clusters copy from the documents are ones that the command takes.
@Suite("Documented command lines")
struct DocumentedLinesTests {
    private static let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }

    /// Documents and examples, by their paths in the project.
    private static func files() throws -> [String] {
        let examples = try FileManager.default.contentsOfDirectory(atPath: "\(root)/plugin/examples")
            .filter { $0.hasSuffix(".yaml") }.map { "plugin/examples/\($0)" }
        var pages: [String] = []
        for target in try FileManager.default.contentsOfDirectory(atPath: "\(root)/Sources") {
            let folder = "Sources/\(target)/\(target).docc"
            guard FileManager.default.fileExists(atPath: "\(root)/\(folder)") else { continue }
            pages += try FileManager.default.contentsOfDirectory(atPath: "\(root)/\(folder)").map { "\(folder)/\($0)" }
        }
        return (["README.md", "plugin/README.md"] + examples + pages).sorted()
    }

    private static func text(_ file: String) throws -> String {
        try String(contentsOfFile: "\(root)/\(file)", encoding: .utf8)
    }

    /// The words after `becalm` of each line that begins with it, in a block of a page or a comment of an example: without
    /// what a shell does with it.
    private static func lines(_ text: String) -> [[String]] {
        let joined = text.replacing(/\\\n[# ]*/, with: "")
        return joined.matches(of: /(?m)^#? {4,}becalm (.*)$/).map { match in
            var words: [String] = []
            for word in match.output.1.split(separator: " ") {
                if word == "#" || word == "|" || word == "&&" { break }
                words.append(word.filter { $0 != "'" })
            }
            return words
        }
    }

    private static func check(_ words: [String], _ file: String) {
        do {
            _ = try BecalmCommand.parseAsRoot(words)
        } catch {
            Issue.record("\(file): becalm \(words.joined(separator: " ")): \(BecalmCommand.message(for: error))")
        }
    }

    @Test("Every line in the documents and in comments of examples is one that it takes")
    func documents() throws {
        var count = 0
        for file in try Self.files() {
            for words in Self.lines(try Self.text(file)) {
                Self.check(words, file)
                count += 1
            }
        }
        #expect(count > 30)
    }

    /// The arguments of containers with the command's image, at whatever depth of an object.
    private static func arguments(_ json: JSONValue) -> [[String]] {
        if let elements = json.array { return elements.flatMap(arguments) }
        guard let members = json.object?.members else { return [] }
        let below = members.flatMap { arguments($0.value) }
        guard json["image"]?.string?.contains("/becalm:") == true, let words = json["args"]?.array else { return below }
        return below + [words.compactMap(\.string)]
    }

    @Test("What containers of examples are told is what it takes")
    func containers() throws {
        var count = 0
        for file in try Self.files() where file.hasSuffix(".yaml") {
            for document in try Self.text(file).split(separator: "\n---\n") {
                for words in Self.arguments(try JSONValue(yaml: String(document))) {
                    Self.check(words, file)
                    count += 1
                }
            }
        }
        #expect(count == 3)
    }
}
