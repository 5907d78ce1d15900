/// One proof that a drill undertakes. Tiers run in order, each on what the ones before it have left; after one that
/// failed the others are skipped.
package protocol DrillTier: Sendable {
    /// `R0`, `R1`: stands in reports and does not change.
    var id: String { get }
    /// What is proved, in a word.
    var name: String { get }
    /// How the program ends when it fails.
    var failure: ExitStatus { get }

    /// Proves it on the stage, and adds to the report what it has found and how long it took. Throws what keeps it from
    /// a verdict; a proof that fails is a verdict.
    func prove(on stage: DrillStage, _ report: inout DrillReport) async throws -> DrillVerdict
}
