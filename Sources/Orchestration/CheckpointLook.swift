internal import Basics
internal import Checkpoints
internal import Synchronization
package import Workloads

/// A look at the checkpoints below a directory of this machine.
package struct CheckpointLook: Sendable {
    private let path: [UInt8]

    /// `path` is raw and absolute.
    package init(_ path: [UInt8]) { self.path = path }

    /// The complete checkpoint whose newest file is the newest; nil when there is none. Its claim is empty.
    package func newest() async throws -> SeenCheckpoint? {
        let newest = Mutex<SeenCheckpoint?>(nil)
        try await SurveyJourney(path: path, isDeep: false).run { event in
            guard case .checkpoint(let finding) = event, finding.kind == .checkpoint, finding.judgement == .complete,
                let modified = finding.modified.map({ Timestamp(nanoseconds: $0) })
            else { return }
            newest.withLock { newest in
                guard modified > newest?.modified ?? Timestamp(nanoseconds: .min) else { return }
                newest = SeenCheckpoint(
                    claim: "", path: finding.path, format: finding.format.rawValue, step: finding.step,
                    modified: modified)
            }
        }
        return newest.withLock { $0 }
    }
}
