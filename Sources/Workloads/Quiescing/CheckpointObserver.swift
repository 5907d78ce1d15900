package import Basics

/// A complete checkpoint in a workload's volumes.
package struct SeenCheckpoint: Hashable, Sendable {
    /// The claim that it is on.
    package var claim: String
    /// In the volume.
    package var path: String
    /// `pytorch-distributed`, …
    package var format: String
    /// The step of the training that it was written at; nil when it does not say.
    package var step: Int64?
    /// When the newest of its files was written, by the clock of who wrote it.
    package var modified: Timestamp

    package init(claim: String, path: String, format: String, step: Int64?, modified: Timestamp) {
        self.claim = claim
        self.path = path
        self.format = format
        self.step = step
        self.modified = modified
    }
}

/// Who sees the volumes of a workload from inside a pod, and judges the checkpoints on them.
package protocol CheckpointObserver: Sendable {
    /// The newest complete checkpoint; nil when there is none.
    func newest() async throws -> SeenCheckpoint?

    /// Waits for a complete checkpoint that was written after `old`: a clock that is wrong by an hour compares with itself
    /// only. Throws `QuiesceError.checkpoint` after `seconds`, with what there is instead.
    func newer(than old: SeenCheckpoint?, seconds: Double) async throws -> SeenCheckpoint
}
