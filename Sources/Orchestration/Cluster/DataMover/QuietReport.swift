internal import Synchronization

/// Passes on what happens, but not what it has told a moment ago: steps are tried again every few seconds, and what they wait
/// for, or fail with, is worth one line.
final class QuietReport: Sendable {
    private let report: @Sendable (DataMoverEvent) -> Void
    private let told = Mutex<[String: ContinuousClock.Instant]>([:])

    /// How long the same thing is not told again.
    private static let quiet = Duration.seconds(300)
    /// Different things that are remembered.
    private static let most = 1000

    init(_ report: @escaping @Sendable (DataMoverEvent) -> Void) { self.report = report }

    /// Tells of an event, unless it was told just now.
    func tell(_ event: DataMoverEvent, at now: ContinuousClock.Instant = .now) {
        let key: String
        switch event {
        case .phase, .leadership:
            report(event)
            return
        case .waiting(let transfer, let reason): key = "\(transfer): \(reason)"
        case .trouble(let text): key = text
        }
        let isNew = told.withLock { told in
            if let last = told[key], now - last < Self.quiet { return false }
            if told.count >= Self.most { told = [:] }
            told[key] = now
            return true
        }
        if isNew { report(event) }
    }
}
