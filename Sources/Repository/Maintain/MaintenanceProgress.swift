/// How far a check or a collection has come, for people who wait.
package struct MaintenanceProgress: Hashable, Sendable {
    /// What is being done.
    package enum Phase: String, Sendable {
        /// Reading listings, snapshots and the index.
        case surveying
        /// Walking the trees of all snapshots.
        case walking
        /// Copying chunks that live in packs which are to go.
        case copying
        /// Removing packs.
        case deleting
        /// Rewriting index segments and removing leftovers.
        case tidying
        /// Reading packs.
        case reading
        /// Finding out which files damage hits.
        case tracing
    }

    package var phase: Phase
    /// Steps done in this phase: snapshots, tree chunks, packs.
    package var done: UInt64
    /// Steps in this phase when known, else 0.
    package var total: UInt64
    /// Bytes read or copied in this phase.
    package var bytes: UInt64

    package init(_ phase: Phase, done: UInt64 = 0, total: UInt64 = 0, bytes: UInt64 = 0) {
        self.phase = phase
        self.done = done
        self.total = total
        self.bytes = bytes
    }

    /// Takes progress; called from any thread, one call at a time is not promised.
    package typealias Handler = @Sendable (MaintenanceProgress) -> Void
}
