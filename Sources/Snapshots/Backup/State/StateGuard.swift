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
    private let judgement: Judgement
    private let options: SurveyOptions
    private let seen = Mutex<[Seen]>([])

    private struct Seen {
        /// Relative to the source.
        var path: String
        var size: UInt64
        var modified: Int64
    }

    /// What was in each directory of it.
    private let directories = Mutex<[(path: String, names: Set<String>)]>([])

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
        guard metadata.type == .regular, !Self.isLog(TreePath.name(path)) else { return }
        seen.withLock {
            $0.append(Seen(path: path, size: metadata.size, modified: metadata.modified.nanoseconds))
        }
    }

    /// Takes down what was in a directory of it when the walker listed it. Names that are no text are no part of it.
    func listed(_ path: String, _ names: [[UInt8]]) {
        let names = names.compactMap { String(validating: $0, as: UTF8.self) }
        directories.withLock { $0.append((path, Set(names))) }
    }

    /// Whether a file grows beside a checkpoint without being part of it.
    private static func isLog(_ name: String) -> Bool {
        [".log", ".jsonl", ".csv", ".out", ".err"].contains { name.hasSuffix($0) } || name.contains(".tfevents.")
            || name.hasPrefix("events.out.")
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
            guard try tree.entry(path)?.kind == .directory else { return "it was removed while it was read" }
            for file in seen.withLock({ $0 }) {
                let name = TreePath.name(file.path)
                guard let now = try tree.entry(file.path) else { return "\(name) in it was removed while it was read" }
                guard now.modified == file.modified, now.size == file.size else {
                    return "\(name) in it changed while it was read: it was being written"
                }
            }
            for directory in directories.withLock({ $0 }) {
                var added: String?
                try tree.list(directory.path) { entry in
                    if !directory.names.contains(entry.name), !Self.isLog(entry.name) { added = entry.name }
                    return added == nil
                }
                if let added { return "\(added) appeared in it while it was read: it was being written" }
            }
            let findings = try Survey(tree, options: options).findings(at: foundAt)
            guard let finding = findings.first(where: { $0.path == path }), finding.judgement == judgement else {
                return "it was written again while it was read"
            }
            return nil
        } catch {
            return "it cannot be judged again after it was read: \(error)"
        }
    }
}
