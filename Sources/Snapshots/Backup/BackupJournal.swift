internal import Basics
internal import Logging
internal import ObjectStorage
internal import Repository
internal import RepositoryFormat
internal import Sealing
internal import Synchronization

/// Notes in the repository how far large files have come, so that a backup that was interrupted goes on inside them.
///
/// An object `journal/<source>-<session>`, written anew now and then and removed by the backup that commits.
final class BackupJournal: Sendable {
    /// Where to go on in a file.
    struct Resumed {
        var items: [ContentItem]
        /// Bytes that the items cover.
        var offset: UInt64
        var hashedUpTo: UInt64
        var hashState: [UInt8]
    }

    /// Bytes of content between two journals.
    private static let interval: UInt64 = 512 << 20

    private struct State {
        var files: [ObjectIdentifier: LargeFile] = [:]
        var writtenAt: UInt64 = 0
        var isWriting = false
    }

    private let session: WriteSession
    private let prefix: String
    private let name: String
    private let earlier: [Digest: JournalRecord.File]
    private let pathKey: HMACSHA256
    private let state = Mutex(State())

    /// Reads what earlier runs of the same source left. What cannot be read is no loss: it is read from the source.
    static func open(_ session: WriteSession, source: Digest) async throws -> BackupJournal {
        let prefix = ObjectNames.journals + String(source.description.prefix(32)) + "-"
        var files: [Digest: JournalRecord.File] = [:]
        for object in try await session.repository.store.listAll(prefix: prefix).sorted(by: {
            $0.modified < $1.modified
        }) {
            do {
                let bytes = try await session.repository.store.get(object.key, maximumBytes: 256 << 20)
                let record = try JournalRecord(decoding: bytes, name: object.key, keyring: session.repository.keyring)
                for file in record.files { files[file.pathDigest] = file }
            } catch {
                session.repository.options.logger.debug("journal \(object.key) is not used: \(error)")
            }
        }
        return BackupJournal(session, prefix, files)
    }

    private init(_ session: WriteSession, _ prefix: String, _ earlier: [Digest: JournalRecord.File]) {
        self.session = session
        self.prefix = prefix
        self.earlier = earlier
        name = prefix + session.header.sessionID.description
        pathKey = HMACSHA256(key: session.repository.keyring.treeIDKey)
    }

    /// What stands for a path in the journal: writers are told no names.
    func pathDigest(_ path: [UInt8]) -> Digest {
        pathKey.authenticate(SHA256State.digest(of: Array("journal".utf8) + [0] + path))
    }

    /// Where to go on in the file, if an earlier run has stored its beginning and it is unchanged. Its data ends at
    /// `dataEnd`, behind which there is a hole at most.
    func resume(_ path: Digest, _ metadata: FileMetadata, dataEnd: UInt64, needsHash: Bool) -> Resumed? {
        guard let file = earlier[path], file.size == metadata.size, file.modified == metadata.modified,
            file.changed == metadata.changed, file.inode == metadata.inode
        else { return nil }
        var items: [ContentItem] = []
        var offset: UInt64 = 0
        for item in file.items {
            guard item.length <= dataEnd - offset else { break }
            // Pieces of zeros of a device's image are holes, too.
            if case .chunk(let id, _) = item, !session.relyOn(id, kind: .data) { break }
            items.append(item)
            offset += item.length
        }
        guard !items.isEmpty else { return nil }
        var reader = ByteReader(file.hashState)
        guard let hashedUpTo = try? reader.read(UInt64.self) else { return nil }
        if needsHash, hashedUpTo > offset || reader.remaining != SHA256State.exportedSize { return nil }
        let hashState = needsHash ? (try? reader.readRaw(reader.remaining)).map(Array.init) ?? [] : []
        return Resumed(items: items, offset: offset, hashedUpTo: needsHash ? hashedUpTo : offset, hashState: hashState)
    }

    func began(_ file: LargeFile) { state.withLock { $0.files[ObjectIdentifier(file)] = file } }
    func ended(_ file: LargeFile) { state.withLock { $0.files[ObjectIdentifier(file)] = nil } }

    /// Writes the journal when enough has been read since the last time. From threads of ours.
    func writeIfDue() throws {
        let read = session.progress.bytesRead
        let isDue = state.withLock { state in
            guard !state.isWriting, read >= state.writtenAt + Self.interval else { return false }
            state.isWriting = true
            return true
        }
        guard isDue else { return }
        defer {
            state.withLock {
                $0.isWriting = false
                $0.writtenAt = read
            }
        }
        try write()
    }

    /// Publishes what is uploaded and writes the journal. From threads of ours.
    func write() throws {
        let files = state.withLock { Array($0.files.values) }.compactMap(\.journalEntry)
        guard !files.isEmpty else { return }
        try session.checkpoint()
        let (store, name) = (session.repository.store, name)
        let bytes = try JournalRecord(files: files).encoded(name: name, keyring: session.repository.keyring)
        _ = try BlockingBridge.run { () async throws(ObjectStorageError) in try await store.put(name, bytes: bytes) }
    }

    /// Removes this and earlier runs' journals of the source: the snapshot has it all.
    func remove() async throws(ObjectStorageError) {
        for object in try await session.repository.store.listAll(prefix: prefix) {
            try await session.repository.store.delete(object.key, ifTag: nil)
        }
    }
}
