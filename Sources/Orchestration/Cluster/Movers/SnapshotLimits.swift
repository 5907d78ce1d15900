/// How long CSI snapshots may take.
package struct SnapshotLimits: Sendable, Hashable {
    /// Seconds until one is cut, through which the workload stands still.
    package var cutSeconds = 300.0
    /// Seconds from then until it can be read: many drivers upload it first.
    package var readySeconds = 7200.0

    package init() {}

    /// The longest time that may be asked for: a week.
    package static let longestSeconds = 604_800.0
}
