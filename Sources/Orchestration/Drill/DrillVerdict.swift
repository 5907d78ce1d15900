/// What came of a tier.
package struct DrillVerdict: Hashable, Sendable {
    /// The raw values stand in reports and do not change.
    package enum Outcome: String, Hashable, Sendable {
        case passed
        case failed
        /// It was not undertaken.
        case skipped
    }

    package var outcome: Outcome
    /// One line: what was proved, or why it was not.
    package var message: String

    package init(_ outcome: Outcome, _ message: String) {
        self.outcome = outcome
        self.message = message
    }
}
