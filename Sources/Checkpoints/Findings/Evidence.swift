package import TensorFiles

/// Why something is held to be torn.
package struct Evidence: Hashable, Sendable, CustomStringConvertible {
    /// The file it is about, relative to the tree's root; nil when it is about no single one.
    package var file: String?
    /// What a complete one has.
    package var expected: String
    /// What is there.
    package var found: String

    package init(file: String?, expected: String, found: String) {
        self.file = file
        self.expected = expected.line
        self.found = found.line
    }

    /// What a parser found wrong with a file.
    package init(file: String, _ evidence: TornEvidence) {
        self.init(
            file: file, expected: evidence.expectedSize.map { "a whole file of \($0) bytes or more" } ?? "a whole file",
            found: evidence.message)
    }

    /// That a file is not there.
    package static func missing(_ file: String, because reason: String) -> Evidence {
        Evidence(file: file, expected: reason, found: "no such file")
    }

    package var description: String {
        "\(file.map { "\(TreePath.shown($0).line): " } ?? "")expected \(expected), found: \(found)"
    }
}
