/// How to collect garbage.
package struct PruneOptions: Hashable, Sendable {
    /// Seconds that a condemned pack waits, and that a pack counts as young; nil for the repository's own.
    ///
    /// With 0 nothing waits: what is condemned is removed in the same run. Only for when no writer and no restore runs;
    /// a writer that does run loses its work so far and begins again, a restore may have to look twice.
    package var graceSeconds: UInt64?
    /// Changes nothing and tells what would be done.
    package var isDryRun: Bool
    /// Packs of which less than this fraction is still referred to are written anew, from 0 (none) to 1.
    package var repackBelow: Double
    /// Nothing is written anew as long as at most this fraction of all bytes is unused.
    package var maximumUnusedFraction: Double
    /// Bytes of packs that are written anew in one run at the most.
    package var repackBytesLimit: UInt64

    package init(
        graceSeconds: UInt64? = nil, isDryRun: Bool = false, repackBelow: Double = 0.6,
        maximumUnusedFraction: Double = 0.05, repackBytesLimit: UInt64 = 8 << 30
    ) {
        self.graceSeconds = graceSeconds
        self.isDryRun = isDryRun
        self.repackBelow = repackBelow
        self.maximumUnusedFraction = maximumUnusedFraction
        self.repackBytesLimit = repackBytesLimit
    }
}
