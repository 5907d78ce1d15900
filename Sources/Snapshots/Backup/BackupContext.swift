internal import Basics
internal import Chunking
internal import Repository
internal import RepositoryFormat
internal import Sealing
internal import Synchronization

/// What all threads of one backup pass share.
final class BackupContext: Sendable {
    let session: WriteSession
    let request: BackupRequest
    let progress: OperationProgress
    let owners = OwnerNames()
    let parameters: ChunkerParameters
    let scanner: CutScanner
    let journal: BackupJournal
    /// The checkpoints, models and caches that are met.
    let states = StateLedger()
    private let problems = Mutex<[Noted]>([])
    private let hardLinks = Mutex<[HardLink: LinkState]>([:])
    /// Problems that a manifest lists; more are counted in the last line.
    private static let problemLimit = 1000

    /// A problem, and whether it is only that the source changed or went while it was read.
    private struct Noted {
        var problem: SnapshotManifest.Problem
        var isChange: Bool
    }

    private struct HardLink: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    private enum LinkState {
        /// With the raw absolute paths of the other names.
        case pending([(DirectoryNode.Slot, TreeEntry, path: [UInt8])])
        case stored(FileContent?, Digest?, size: UInt64)
    }

    init(session: WriteSession, request: BackupRequest, progress: OperationProgress, journal: BackupJournal) throws {
        self.session = session
        self.request = request
        self.progress = progress
        self.journal = journal
        let config = session.repository.config
        guard
            let parameters = ChunkerParameters(
                minimum: Int(config.chunkMinimum), average: Int(config.chunkAverage), maximum: Int(config.chunkMaximum))
        else { throw RepositoryError(.damaged, "the repository's config names impossible chunk sizes") }
        self.parameters = parameters
        let table = GearTable(material: try session.repository.keyring.chunkerMaterial())
        scanner = CutScanner(table: table, parameters: parameters)
    }

    /// Throws when the owner has asked for an end or the session has failed.
    func check() throws {
        try session.check()
        try Self.check(progress)
    }

    /// Throws when the owner has asked for an end.
    static func check(_ progress: OperationProgress) throws {
        if progress.isCancelled {
            throw RepositoryError(.cancelled, "the backup was interrupted: run it again, it goes on from here")
        }
    }

    /// Notes a source that is missing from the snapshot or may be torn in it; `isChange` where that is only because it
    /// changed or went while it was read.
    func note(_ path: [UInt8], _ message: String, isChange: Bool = false) {
        let problem = SnapshotManifest.Problem(path: PathText.display(path), message: message)
        problems.withLock { $0.append(Noted(problem: problem, isChange: isChange)) }
    }

    /// Notes a source that cannot be read. A checkpoint that is gone is none: it was rotated away, and is left out.
    func note(_ path: [UInt8], _ error: SnapshotError) {
        if error.code == .sourceMissing, states.loses(path) { return }
        note(path, error.message, isChange: error.code == .sourceMissing || error.code == .changedWhileRead)
    }

    /// What was noted, by path, at most a thousand of it. What concerns a checkpoint that is left out as a whole is not
    /// the snapshot's problem.
    var notedProblems: [SnapshotManifest.Problem] { listed { _ in true } }

    /// Those of `notedProblems` that are no mere changes, at most a thousand as well.
    var notedUnreadable: [SnapshotManifest.Problem] { listed { !$0.isChange } }

    private func listed(_ isWanted: (Noted) -> Bool) -> [SnapshotManifest.Problem] {
        let all = problems.withLock { $0 }.filter { isWanted($0) && !states.isLeftOut($0.problem.path) }
            .map(\.problem).sorted { ($0.path, $0.message) < ($1.path, $1.message) }
        guard all.count > Self.problemLimit else { return all }
        return all.prefix(Self.problemLimit) + [.init(path: "", message: "and \(all.count - Self.problemLimit) more")]
    }

    /// Leaves a file that cannot be read out and names it. An error that is not the file's alone is thrown.
    func leaveOut(
        _ path: [UInt8], _ error: SnapshotError, _ slot: DirectoryNode.Slot, _ metadata: FileMetadata,
        _ encoder: ChunkEncoder
    ) throws {
        guard error.code != .cancelled, error.code != .failed || error.cause == nil else {
            try check()
            throw RepositoryError(error.cause ?? error)
        }
        note(path, error)
        try fill(slot, nil, of: metadata, encoder)
    }

    /// Whether the caller is to store this file. Other names of an inode that is stored, or being stored, share it.
    func claimLink(
        _ slot: DirectoryNode.Slot, _ entry: TreeEntry, at path: @autoclosure () -> [UInt8],
        _ encoder: ChunkEncoder
    ) throws -> Bool {
        guard entry.metadata.linkCount > 1 else { return true }
        let key = HardLink(device: entry.metadata.device, inode: entry.metadata.inode)
        let known = hardLinks.withLock { links -> (FileContent?, Digest?, UInt64)? in
            switch links[key] {
            // What could not be stored by one name may be by another.
            case nil, .stored(nil, _, _):
                links[key] = .pending([])
                return nil
            case .pending(let waiting):
                links[key] = .pending(waiting + [(slot, entry, path())])
                return (nil, nil, .max)
            case .stored(let content, let digest, let size): return (content, digest, size)
            }
        }
        guard let (content, digest, size) = known else { return true }
        if size != .max { try fillLink(slot, entry, content, digest, size, encoder) }
        return false
    }

    /// Fills `slot` with a file that has been stored, or drops it, and so the other names of its inode.
    func fill(_ slot: DirectoryNode.Slot, _ entry: TreeEntry?, of original: FileMetadata, _ encoder: ChunkEncoder)
        throws
    {
        progress.update { $0.files += 1 }
        try slot.node.fill(slot, entry, encoder)
        guard original.linkCount > 1 else { return }
        let key = HardLink(device: original.device, inode: original.inode)
        let waiting = hardLinks.withLock { links -> [(DirectoryNode.Slot, TreeEntry, path: [UInt8])] in
            guard case .pending(let waiting)? = links[key] else { return [] }
            links[key] = .stored(entry?.content, entry?.fileDigest, size: entry?.metadata.size ?? 0)
            return waiting
        }
        for (other, waitingEntry, path) in waiting {
            if entry == nil {
                _ = states.loses(path)
                note(path, "is another name of a file that could not be stored by its first: the next backup takes it")
            }
            try fillLink(other, waitingEntry, entry?.content, entry?.fileDigest, entry?.metadata.size ?? 0, encoder)
        }
    }

    private func fillLink(
        _ slot: DirectoryNode.Slot, _ entry: TreeEntry, _ content: FileContent?, _ digest: Digest?, _ size: UInt64,
        _ encoder: ChunkEncoder
    ) throws {
        progress.update {
            $0.files += 1
            $0.bytes += entry.metadata.size
        }
        guard content != nil else { return try slot.node.fill(slot, nil, encoder) }
        var linked = entry
        linked.content = content
        linked.fileDigest = digest
        linked.metadata.size = size
        try slot.node.fill(slot, linked, encoder)
    }
}
