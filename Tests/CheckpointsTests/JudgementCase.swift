import Checkpoints
import Testing

/// A sample, what is done to it, and what is to be held of it then.
struct JudgementCase: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var sample: String
    /// Where the sample is copied to, and where the finding is.
    var path: String
    var judgement: Judgement
    /// What the evidence, or the doubts of an unknown one, or the notes of a complete one say somewhere.
    var text: String
    var isDeep = false
    var change: @Sendable (TemporaryTree) throws -> Void

    init(
        _ description: String, _ sample: String, at path: String, _ judgement: Judgement, _ text: String = "",
        isDeep: Bool = false, change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) {
        testDescription = description
        self.sample = sample
        self.path = path
        self.judgement = judgement
        self.text = text
        self.isDeep = isDeep
        self.change = change
    }

    /// Holds the finding against the expectation.
    func check() throws {
        let tree = try TemporaryTree()
        try tree.copy(sample, to: path)
        try change(tree)
        let finding = try (isDeep ? tree.deepSurvey() : tree.survey()).at(path)
        #expect(finding.judgement == judgement, "\(finding.evidenceText)\n\(finding.doubtText)")
        let said: String =
            switch finding.judgement {
            case .torn: finding.evidenceText
            case .unknown: finding.doubtText
            case .complete, .empty: finding.notes.joined(separator: "\n")
            }
        #expect(text.isEmpty || said.contains(text), "\"\(text)\" expected in: \(said)")
        #expect((finding.judgement == .torn) == !finding.evidence.isEmpty)
        #expect(finding.judgement == .torn || finding.quarantineName == nil)
    }
}
