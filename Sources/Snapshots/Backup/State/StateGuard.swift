internal import Basics
internal import Checkpoints
internal import RepositoryFormat
internal import Synchronization

/// Looks, when all of a checkpoint's directory is stored, whether it is still what was judged and read.
///
/// The walker tells it what it sees; whoever stores the last piece asks. What changes beside the checkpoint's own files
/// (logs, results of an evaluation) does not count.
final class StateGuard: Sendable {
    /// The checkpoint's path in the snapshot, and its raw absolute one.
    let state: String
    let place: [UInt8]
    private let ledger: StateLedger
    private let source: String
    /// Relative to the source: of the checkpoint, and of the directory at which it was found.
    private let path: String
    private let foundAt: String
    private let judgement: Judgement
    private let options: SurveyOptions
    private let seen = Mutex<[Seen]>([])

    private struct Seen {
        /// Relative to the source.
        var path: String
        var size: UInt64
        var modified: Int64
    }

    init(
        _ finding: CheckpointFinding, foundAt: String, source: String, place: [UInt8], root: String,
        ledger: StateLedger, options: SurveyOptions
    ) {
        state = TreePath.join(root, finding.path)
        self.place = place
        self.ledger = ledger
        self.source = source
        path = finding.path
        judgement = finding.judgement
        self.foundAt = foundAt
        self.options = options
    }

    /// Takes down how a regular file of it was when the walker came by.
    func saw(_ path: String, _ metadata: FileMetadata) {
        guard metadata.type == .regular else { return }
        seen.withLock {
            $0.append(Seen(path: path, size: metadata.size, modified: metadata.modified.nanoseconds))
        }
    }

    /// Whether it may stand in the snapshot; if not, it is named among what is left out. Blocks.
    func holds() -> Bool {
        guard let reason = change() else { return true }
        ledger.drop(state, at: place, reason)
        return false
    }

    /// What has become of it since it was judged, on one line; nil when it is what it was. Blocks.
    func change() -> String? {
        do {
            let tree = OverlaidTree(try LocalTree(source))
            guard try tree.entry(path)?.kind == .directory else { return "it was removed while it was read" }
            let findings = try Survey(tree, options: options).findings(at: foundAt)
            let finding = findings.first { $0.path.utf8.elementsEqual(path.utf8) }
            let relied = tree.visited
            for file in seen.withLock({ $0 })
            where StateRelevance.holds(file.path) || relied.contains(Array(file.path.utf8)) {
                let name = TreePath.name(file.path)
                guard let now = try tree.entry(file.path) else { return "\(name) in it was removed while it was read" }
                guard now.modified == file.modified, now.size == file.size else {
                    return "\(name) in it changed while it was read: it was being written"
                }
            }
            return finding?.judgement == judgement ? nil : "it was written again while it was read"
        } catch {
            return "it cannot be judged again after it was read: \(error)"
        }
    }
}
