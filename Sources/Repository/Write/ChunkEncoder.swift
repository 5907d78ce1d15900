internal import Basics
internal import Compression
package import RepositoryFormat
package import Sealing

/// Turns chunks into sealed blobs in packs. One per worker thread: it owns that thread's cipher and compressor.
package final class ChunkEncoder {
    /// Chunks below this many bytes share a blob with others.
    package static let groupedBelow = 256 << 10
    private static let groupTarget = 1 << 20
    private static let groupMembers = 4096

    private let session: WriteSession
    private let cipher: AES256GCM
    private let compressor: ZstdCompressor?
    private let sample: CompressibilitySample
    private let scratch: Buffer
    private let planes: PlaneEncoder?
    private var groups: [ChunkKind: Group] = [:]

    private struct Group {
        var members: [BlobGroup.Member] = []
        let bytes = Buffer(capacity: ChunkEncoder.groupTarget + ChunkEncoder.groupedBelow)
    }

    /// An encoder for one thread. Throws when the libraries refuse.
    package init(session: WriteSession) throws(RepositoryError) {
        self.session = session
        do {
            cipher = try AES256GCM(key: session.key)
            sample = try CompressibilitySample()
            switch session.repository.options.compression {
            case .off:
                compressor = nil
                planes = nil
            case .zstd(let level):
                compressor = try ZstdCompressor(level: level)
                planes = try PlaneEncoder()
            }
        } catch {
            throw RepositoryError(error)
        }
        scratch = Buffer(capacity: 1 << 20)
    }

    /// Stores the chunk whose bytes are `pieces` one after another and whose SHA-256 is `contentDigest`, unless the
    /// repository has it. Answers its id. The pieces are read before it returns.
    ///
    /// - Parameters:
    ///   - traits: may make it smaller; asked for only when the chunk is new and long enough.
    ///   - asWhole: whether only a copy that needs no base counts as there. `traits` name no base then.
    package func add(
        _ pieces: [UnsafeRawBufferPointer], contentDigest: Digest, kind: ChunkKind,
        traits: @autoclosure () -> ChunkTraits? = nil, asWhole: Bool = false
    ) throws(RepositoryError) -> ChunkID {
        let count = pieces.reduce(0) { $0 + $1.count }
        let id = session.repository.chunkIdentifier.id(of: contentDigest, kind: kind)
        guard session.claim(id, kind: kind, count: count, asWhole: asWhole) else { return id }
        do {
            if count < Self.groupedBelow {
                try addToGroup(pieces, id, count, kind)
            } else {
                try addAlone(pieces, id, count, kind, traits())
            }
        } catch {
            let error = RepositoryError(error)
            session.fail(error)
            throw error
        }
        return id
    }

    /// Stores a chunk of bookkeeping and answers its id.
    package func add(_ bytes: [UInt8], kind: ChunkKind) throws(RepositoryError) -> ChunkID {
        do {
            return try bytes.withUnsafeBytes {
                try add([$0], contentDigest: SHA256State.digest(of: $0), kind: kind)
            }
        } catch {
            throw RepositoryError(error)
        }
    }

    /// Seals what waits in groups. Call when the thread has no more chunks.
    package func flush() throws(RepositoryError) {
        for kind in ChunkKind.allCases { try flush(kind) }
    }

    private func addToGroup(_ pieces: [UnsafeRawBufferPointer], _ id: ChunkID, _ count: Int, _ kind: ChunkKind) throws {
        let group = groups[kind] ?? Group()
        for piece in pieces { group.bytes.append(piece) }
        groups[kind] = group
        groups[kind]?.members.append(.init(id: id, length: UInt32(count)))
        if group.bytes.count >= Self.groupTarget || group.members.count >= Self.groupMembers { try flush(kind) }
    }

    private func flush(_ kind: ChunkKind) throws(RepositoryError) {
        guard let group = groups[kind], let first = group.members.first else { return }
        defer {
            group.bytes.count = 0
            groups[kind]?.members = []
        }
        do {
            let directory = BlobGroup.directory(of: group.members)
            try directory.withUnsafeBytes { directory in
                let pieces = [directory, group.bytes.bytes]
                try seal(
                    pieces, rawLength: directory.count + group.bytes.count, id: first.id, isGroup: true,
                    members: group.members, kind, nil)
            }
        } catch {
            let error = RepositoryError(error)
            session.fail(error)
            throw error
        }
    }

    private func addAlone(
        _ pieces: [UnsafeRawBufferPointer], _ id: ChunkID, _ count: Int, _ kind: ChunkKind, _ traits: ChunkTraits?
    ) throws {
        let base = try seal(
            pieces, rawLength: count, id: id, isGroup: false, members: [.init(id: id, length: UInt32(count))], kind,
            traits)
        if kind == .data, base == nil { session.noteWhole(id) }
    }

    /// A chunk's bytes as they are to be sealed.
    private struct Content {
        var codec = BlobCodec.stored
        var pieces: [UnsafeRawBufferPointer]
        var base: ChunkID?
    }

    /// Compresses where it pays, reserves room in a pack and seals into it. Answers the base that it is a difference to.
    @discardableResult
    private func seal(
        _ pieces: [UnsafeRawBufferPointer], rawLength: Int, id: ChunkID, isGroup: Bool, members: [BlobGroup.Member],
        _ kind: ChunkKind, _ traits: ChunkTraits?
    ) throws -> ChunkID? {
        var content = Content(pieces: pieces)
        if let traits, kind == .data, let apart = try takeApart(pieces, rawLength, id, traits) {
            content = apart
        } else if let compressed = try compress(pieces, rawLength) {
            content = Content(codec: .zstd, pieces: [compressed])
        }
        let contentLength = content.pieces.reduce(0) { $0 + $1.count }
        let sealedLength = contentLength + AES256GCM.tagSize
        let header = BlobHeader(
            codec: content.codec, isGroup: isGroup, sealedLength: UInt32(sealedLength), rawLength: UInt32(rawLength),
            nonce: session.nextNonce(), id: id)
        let (pack, offset) = try session.reserve(BlobHeader.size + sealedLength, kind: kind)
        var blob: PackedBlob?
        defer { session.release(pack, blob) }
        let encoded = header.encoded()
        let context = pack.id.bytes + encoded
        pack.memory(at: offset, count: BlobHeader.size).copyBytes(from: encoded)
        let written = try context.withUnsafeBytes {
            try cipher.seal(
                nonce: header.nonce, context: $0, pieces: content.pieces,
                into: pack.memory(at: offset + BlobHeader.size, count: sealedLength))
        }
        guard written == sealedLength else {
            throw RepositoryError(.failed, "sealing wrote \(written) bytes where \(sealedLength) were expected")
        }
        blob = PackedBlob(
            offset: UInt32(offset), sealedLength: UInt32(sealedLength), isGroup: isGroup, members: members,
            base: content.base, codec: content.codec)
        return content.base
    }

    /// The chunk as byte planes in scratch memory, against a base where there is one and it pays; nil when nothing of
    /// that pays.
    private func takeApart(
        _ pieces: [UnsafeRawBufferPointer], _ rawLength: Int, _ id: ChunkID, _ traits: ChunkTraits
    ) throws -> Content? {
        guard let planes else { return nil }
        // Room for the base's id in front.
        scratch.ensureCapacity(Digest.size + rawLength)
        let room = UnsafeMutableRawBufferPointer(rebasing: scratch.storage[Digest.size..<Digest.size + rawLength])
        let found = try withBase(of: id, rawLength, traits) { base in
            let encoded = try planes.encode(
                pieces, at: traits.offset, base: base.map { [$0.bytes] }, verdict: traits.family.verdict, into: room)
            if base != nil { traits.family.noteBase(isUsed: encoded?.usesBase == true) }
            return encoded.map { ($0, $0.usesBase ? base.map { ($0.id, $0.pack) } : nil) }
        }
        guard let (encoded, base) = found else { return nil }
        guard let (base, pack) = base else {
            return Content(codec: .planes, pieces: [UnsafeRawBufferPointer(rebasing: room[..<encoded.count])])
        }
        scratch.storage.copyBytes(from: base.digest.bytes)
        if let pack { session.rely(on: pack) }
        return Content(
            codec: .difference,
            pieces: [UnsafeRawBufferPointer(rebasing: scratch.storage[..<(Digest.size + encoded.count)])],
            base: base)
    }

    /// A chunk that another may be stored as the difference to, read and checked.
    private struct Base {
        var id: ChunkID
        /// Where it is stored whole; nil when this session stores it.
        var pack: Identifier?
        var bytes: UnsafeRawBufferPointer
    }

    /// Calls `body` with a chunk that this one may be stored as the difference to, or with nil when there is none.
    private func withBase<R>(
        of id: ChunkID, _ rawLength: Int, _ traits: ChunkTraits, _ body: (Base?) throws -> R
    ) throws -> R {
        let named = named(traits, rawLength, id)
        guard named != nil || !traits.locals.isEmpty, rawLength <= session.repository.plan.baseBytes,
            traits.family.takesBase()
        else { return try body(nil) }
        return try session.bases.withReader { reader in
            try body(local(traits.locals, rawLength, id, reader) ?? named.flatMap { try read($0.id, $0.pack, reader) })
        }
    }

    /// The chunk that `traits` name, or where that is a difference its own base: a base never is one.
    private func named(_ traits: ChunkTraits, _ rawLength: Int, _ id: ChunkID) -> (id: ChunkID, pack: Identifier)? {
        // A key that cannot read what is stored reads no base.
        guard session.repository.keyring.role.can(.read), session.seeksBases, let named = traits.base,
            let location = session.index.find(named, kind: .data)
        else { return nil }
        let base = location.base ?? named
        guard base != id, let whole = session.index.findWhole(base, kind: .data), Int(whole.rawLength) == rawLength
        else { return nil }
        return (base, whole.pack)
    }

    private func read(_ base: ChunkID, _ pack: Identifier, _ reader: BaseReader) throws -> Base? {
        do throws(BaseReader.Failure) {
            return Base(id: base, pack: pack, bytes: try reader.bytes(of: base))
        } catch {
            // A base that cannot be read makes nothing smaller; that is all.
            guard error.error.code != .cancelled else { throw error.error }
            session.noteUnreadableBase(error.error)
            return nil
        }
    }

    /// The first of `locals` whose bytes are a chunk that is stored whole.
    private func local(
        _ locals: [any LocalBase], _ rawLength: Int, _ id: ChunkID, _ reader: BaseReader
    ) -> Base? {
        for local in locals {
            guard let (base, bytes) = reader.bytes(of: local, count: rawLength) else { continue }
            let place = base == id ? nil : session.wholePlace(of: base)
            local.note(isBase: place != nil)
            if let place { return Base(id: base, pack: place.pack, bytes: bytes) }
        }
        return nil
    }

    /// The compressed bytes in scratch memory, or nil when it does not pay at least 3 %.
    private func compress(_ pieces: [UnsafeRawBufferPointer], _ rawLength: Int) throws -> UnsafeRawBufferPointer? {
        guard let compressor, rawLength >= 64, sample.pays(pieces) else { return nil }
        let source: UnsafeRawBufferPointer
        let limit = rawLength - rawLength * 3 / 100
        if pieces.count == 1, let only = pieces.first {
            scratch.ensureCapacity(limit)
            source = only
        } else {
            scratch.ensureCapacity(rawLength + limit)
            var offset = limit
            for piece in pieces {
                UnsafeMutableRawBufferPointer(rebasing: scratch.storage[offset..<offset + piece.count]).copyMemory(
                    from: piece)
                offset += piece.count
            }
            source = UnsafeRawBufferPointer(rebasing: scratch.storage[limit..<limit + rawLength])
        }
        let target = UnsafeMutableRawBufferPointer(rebasing: scratch.storage[0..<limit])
        guard let count = try compressor.compress(source, into: target) else { return nil }
        return UnsafeRawBufferPointer(rebasing: target[0..<count])
    }
}
