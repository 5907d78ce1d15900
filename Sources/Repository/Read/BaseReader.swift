internal import Basics
internal import ObjectStorage
internal import RepositoryFormat
internal import Sealing

/// Reads the chunks to which others are stored as the difference, one at a time, with memory for one: sealed, and
/// expanded. Used by one thread at a time; a `BasePool` hands it around.
///
/// A base is never a difference itself (Format.md, "Differences"), so this asks for nothing further.
final class BaseReader {
    /// A base that cannot be had.
    struct Failure: Error {
        var id: ChunkID
        /// Where it was looked for last; nil when no pack was known to have it.
        var pack: Identifier?
        var error: RepositoryError

        /// Whether the chunk is lost, as far as is known, and not the store out of reach.
        var isLoss: Bool { error.code == .damaged || error.code == .notFound || error.isMissingObject }
    }

    private let repository: Repository
    private let opener: BlobOpener
    /// A copy of the chunk that is no difference, in none of these packs.
    private let find: (ChunkID, Set<Identifier>) -> ChunkLocation?
    private let rehash: Bool
    private let buffer = Buffer(capacity: 0)
    private var last: (id: ChunkID, bytes: UnsafeRawBufferPointer)?

    /// `rehash` compares each base with its id: for whoever makes a difference, so that it never rests on other bytes.
    init(
        repository: Repository, keys: SessionKeys, rehash: Bool,
        find: @escaping (ChunkID, Set<Identifier>) -> ChunkLocation?
    ) {
        self.repository = repository
        self.find = find
        self.rehash = rehash
        opener = BlobOpener(keys: keys, expandedAtOnce: 1)
    }

    /// A reader that finds bases in `index`.
    convenience init(repository: Repository, keys: SessionKeys, rehash: Bool, index: RepositoryIndex) {
        self.init(repository: repository, keys: keys, rehash: rehash) { id, tried in
            (tried.isEmpty ? index : index.avoiding(tried)).findBase(id, kind: .data)
        }
    }

    /// The bytes of the chunk, good until the next call. Blocks; throws `Failure`.
    func bytes(of id: ChunkID) throws(Failure) -> UnsafeRawBufferPointer {
        if let last, last.id == id { return last.bytes }
        last = nil
        var tried = Set<Identifier>()
        var failure = Failure(
            id: id, pack: nil,
            error: RepositoryError(
                .notFound, "chunk \(id), to which others are stored as the difference, is in no pack"))
        while let location = find(id, tried) {
            do {
                let bytes = try read(id, location)
                last = (id, bytes)
                return bytes
            } catch {
                var cause = error
                if let error = cause as? ObjectStorageError, [.invalidArgument, .corrupted].contains(error.code) {
                    // Shorter than it should be, or not what was stored.
                    cause = FormatError(.damaged, error.message, cause: error)
                }
                let error = RepositoryError(cause, doing: "cannot read chunk \(id) in \(location.objectName)")
                failure = Failure(id: id, pack: location.pack, error: error)
                guard failure.isLoss else { throw failure }
                tried.insert(location.pack)
            }
        }
        throw failure
    }

    /// The `count` bytes that `local` has, and the chunk that they are; nil when they are not to be had. Good until the next
    /// call. Blocks.
    func bytes(of local: any LocalBase, count: Int) -> (id: ChunkID, bytes: UnsafeRawBufferPointer)? {
        last = nil
        buffer.count = 0
        buffer.ensureCapacity(count)
        guard local.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer.storage[..<count])) else { return nil }
        buffer.count = count
        // What is hashed is what is used: the file may change meanwhile.
        let id = repository.chunkIdentifier.id(of: SHA256State.digest(of: buffer.bytes), kind: .data)
        return (id, buffer.bytes)
    }

    private func read(_ id: ChunkID, _ location: ChunkLocation) throws -> UnsafeRawBufferPointer {
        guard location.sealedLength <= BlobHeader.maximumRawLength + UInt32(AES256GCM.tagSize) else {
            throw FormatError(.damaged, "the index gives chunk \(id) an impossible length")
        }
        let store = repository.store
        let (name, range, buffer) = (location.objectName, location.range, buffer)
        buffer.count = 0
        let start = ObjectBlock.start(before: range.lowerBound)
        let count = Int(range.upperBound - start)
        buffer.ensureCapacity(count)
        _ = try BlockingBridge.run { () async throws(ObjectStorageError) in
            try await store.get(name, range: start..<range.upperBound, into: buffer, maximumBytes: count)
        }
        guard buffer.count == count else {
            throw FormatError(.damaged, "\(name) is cut short: a blob at byte \(range.lowerBound) is not there")
        }
        let place = UnsafeMutableRawBufferPointer(
            rebasing: buffer.storage[Int(range.lowerBound - start)..<count])
        let opened = try opener.openInPlace(place, pack: location.pack, session: location.session)
        var bytes = opened.raw
        if opened.header.isGroup {
            guard let found = try BlobGroup(decoding: opened.raw).ranges.first(where: { $0.member.id == id }) else {
                throw FormatError(.damaged, "\(name) lacks chunk \(id), which the index places there")
            }
            bytes = UnsafeRawBufferPointer(rebasing: opened.raw[found.range])
        }
        if rehash, repository.chunkIdentifier.id(of: SHA256State.digest(of: bytes), kind: location.kind) != id {
            throw RepositoryError(.damaged, "\(name) holds other bytes under chunk \(id)")
        }
        return bytes
    }
}
