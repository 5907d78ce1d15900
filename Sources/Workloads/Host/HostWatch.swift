package import Basics

/// Watches over a journal beside its holder, so that a process that was paused runs again in time though nobody comes: when
/// the holder dies, and at the deadline.
package struct HostWatch: Sendable {
    private let directory: HostStateDirectory
    private let journal: HostJournal
    private let opening: String
    private let environment: [String: String]
    private let clock: any WallClock

    /// Seconds that a holder has after the deadline to let go by itself.
    private static let graceSeconds = 5.0
    /// Seconds between looks whether there is still anything to watch over.
    private static let lookSeconds = 60.0

    package init(
        _ directory: HostStateDirectory, _ workload: WorkloadReference, opening: String, environment: [String: String],
        clock: any WallClock = SystemWallClock()
    ) {
        self.directory = directory
        journal = HostJournal(directory, of: workload)
        self.opening = opening
        self.environment = environment
        self.clock = clock
    }

    /// Returns when the journal is gone, undone by somebody else or by us, or when it is cancelled. `lifeLine` is a pipe's end whose other one its
    /// holder has.
    package func run(lifeLine: Int32) async throws {
        var lifeLine = lifeLine
        while let entry = try journal.read(), entry.opening == opening {
            var left = Self.lookSeconds
            if let deadline = entry.deadline {
                left = deadline.advanced(bySeconds: entry.isKept ? 0 : Self.graceSeconds) - clock.now()
                if left <= 0 { return try await undo() }
            }
            do {
                guard try await DescriptorWait.isReadable(lifeLine, seconds: min(left, Self.lookSeconds)) else {
                    continue
                }
            } catch is CancellationError {
                // Who has undone it says so.
                return
            }
            // Nobody writes: this is its end.
            lifeLine = -1
            guard let now = try journal.read(), now.opening == opening else { return }
            if !now.isKept { return try await undo() }
        }
    }

    private func undo() async throws {
        let resumer = HostResumer(directory, environment: environment, clock: clock)
        let (journal, opening) = (journal, opening)
        let undoing = try await BlockingBridge.offload(name: "becalm-resume") {
            Result { try resumer.undo(journal, opening: opening) }
        }
        if case .pending(let words) = undoing { throw QuiesceError(.notResumed, words) }
    }
}
