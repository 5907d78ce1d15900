internal import Basics
internal import Checkpoints
internal import Synchronization
package import Workloads

/// A look at the checkpoints below a directory of this machine.
package struct CheckpointLook: Sendable {
    /// What there is.
    package struct Seen: Sendable {
        /// The complete checkpoint whose newest file is the newest; nil when there is none. Its claim is empty.
        package var newest: SeenCheckpoint?
        /// The same of those that are not complete, or cannot be told to be: when that was, in nanoseconds since 1970, and why
        /// it does not count.
        package var other = (modified: Int64.min, words: "")
    }

    private let path: [UInt8]

    /// `path` is raw and absolute.
    package init(_ path: [UInt8]) { self.path = path }

    /// The newest complete checkpoint.
    package func newest() async throws -> SeenCheckpoint? { try await look().newest }

    /// The newest of those that are complete, and of those that are not.
    package func look() async throws -> Seen {
        let seen = Mutex(Seen())
        try await SurveyJourney(path: path, isDeep: false).run { event in
            guard case .checkpoint(let finding) = event, finding.kind == .checkpoint, let modified = finding.modified
            else { return }
            seen.withLock { seen in
                guard finding.judgement == .complete else {
                    if modified > seen.other.modified { seen.other = (modified, Self.words(finding)) }
                    return
                }
                guard modified > seen.newest?.modified.nanoseconds ?? .min else { return }
                seen.newest = SeenCheckpoint(
                    claim: "", path: finding.path, format: finding.format.rawValue, step: finding.step,
                    modified: Timestamp(nanoseconds: modified))
            }
        }
        return seen.withLock { $0 }
    }

    /// Why one does not count.
    private static func words(_ finding: CheckpointFinding) -> String {
        let reason = finding.evidence.first.map { "\($0)" } ?? finding.doubts.first
        return "\(finding.path) is \(finding.judgement.rawValue)" + (reason.map { " (\($0))" } ?? "")
    }
}
