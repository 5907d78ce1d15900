internal import Basics
internal import Checkpoints
internal import RepositoryFormat
internal import Synchronization

/// Looks, when all of a checkpoint's directory is stored, whether it is still what was judged and read.
///
/// The walker tells it what it sees; whoever stores the last piece asks.
final class StateGuard: Sendable {
    /// The checkpoint's path in the snapshot, and its raw absolute one.
    let state: String
    let place: [UInt8]
    private let ledger: StateLedger
    private let source: String
    /// Relative to the source: of the checkpoint, and of the directory at which it was found.
    private let path: String
    private let foundAt: String
    private let options: SurveyOptions
    private let seen = Mutex<[Seen]>([])

    private struct Seen {
        /// Relative to the source.
        var path: String
        var size: UInt64
        var modified: Int64
        var isDirectory: Bool
    }

    init(
        _ finding: CheckpointFinding, foundAt: String, source: String, place: [UInt8], root: String,
        ledger: StateLedger,
        options: SurveyOptions
    ) {
        state = TreePath.join(root, finding.path)
        self.place = place
        self.ledger = ledger
        self.source = source
        path = finding.path
        self.foundAt = foundAt
        self.options = options
    }

    /// Takes down how a file or directory of it was when the walker came by.
    func saw(_ path: String, _ metadata: FileMetadata) {
        guard metadata.type == .regular || metadata.type == .directory else { return }
        seen.withLock {
            $0.append(
                Seen(
                    path: path, size: metadata.size, modified: metadata.modified.nanoseconds,
                    isDirectory: metadata.type == .directory))
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
            let tree = try LocalTree(source)
            for file in seen.withLock({ $0 }) {
                guard let now = try tree.entry(file.path) else {
                    let name = TreePath.name(file.path)
                    return file.path == path
                        ? "it was removed while it was read" : "\(name) in it was removed while it was read"
                }
                guard now.modified == file.modified, file.isDirectory || now.size == file.size else {
                    return "\(TreePath.name(file.path)) in it changed while it was read: it was being written"
                }
            }
            let findings = try Survey(tree, options: options).findings(at: foundAt)
            guard let finding = findings.first(where: { $0.path == path }), finding.judgement == .complete else {
                return "it was written again while it was read"
            }
            return nil
        } catch {
            return "it cannot be judged again after it was read: \(error)"
        }
    }
}
