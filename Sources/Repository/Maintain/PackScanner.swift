internal import Basics
internal import ObjectStorage
internal import RepositoryFormat
internal import Sealing

/// Reads blobs out of a pack by their headers alone, without its footer: from each place where a header stands and what
/// follows opens under the session's key, to the next. What is damaged is passed over byte by byte.
struct PackScanner {
    let pack: Identifier
    let kind: ChunkKind
    let session: SessionHeader
    let identifier: ChunkIdentifier

    /// The blobs of `bytes`, a whole pack, whose every chunk is what its id says. Throws nothing: damage is left out.
    func scan(_ bytes: UnsafeRawBufferPointer, _ opener: BlobOpener) -> [PackedBlob] {
        var blobs: [PackedBlob] = []
        var offset = 0
        while let start = nextHeader(in: bytes, from: offset) {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
            guard let blob = blob(at: start, rest, opener) else {
                offset = start + 1
                continue
            }
            blobs.append(blob)
            offset = start + BlobHeader.size + Int(blob.sealedLength)
        }
        return blobs
    }

    /// The next place where the magic number of a header stands.
    private func nextHeader(in bytes: UnsafeRawBufferPointer, from offset: Int) -> Int? {
        var position = offset
        while position + BlobHeader.size <= bytes.count {
            if (try? BlobHeader(decoding: UnsafeRawBufferPointer(rebasing: bytes[position...]))) != nil {
                return position
            }
            position += 1
            // The header's first letter, found faster than a header is judged.
            while position < bytes.count, bytes[position] != UInt8(ascii: "B") { position += 1 }
        }
        return nil
    }

    private func blob(at offset: Int, _ bytes: UnsafeRawBufferPointer, _ opener: BlobOpener) -> PackedBlob? {
        guard offset <= Int(UInt32.max) else { return nil }
        let opened: OpenedBlob
        do {
            opened = try opener.open(bytes, pack: pack, session: session)
        } catch let failure as BaseReader.Failure {
            // The seal held, so it is what was written. Its base may turn up in a pack that is looked at later.
            guard let header = try? BlobHeader(decoding: bytes) else { return nil }
            return PackedBlob(
                offset: UInt32(offset), sealedLength: header.sealedLength, isGroup: false,
                members: [.init(id: header.id, length: header.rawLength)], base: failure.id, codec: .difference)
        } catch {
            return nil
        }
        var members: [BlobGroup.Member] = []
        if opened.header.isGroup {
            guard let group = try? BlobGroup(decoding: opened.raw) else { return nil }
            for (member, range) in group.ranges {
                let content = UnsafeRawBufferPointer(rebasing: opened.raw[range])
                if isChunk(member.id, content) { members.append(member) }
            }
        } else if isChunk(opened.header.id, opened.raw) {
            members = [.init(id: opened.header.id, length: opened.header.rawLength)]
        }
        guard !members.isEmpty else { return nil }
        return PackedBlob(
            offset: UInt32(offset), sealedLength: opened.header.sealedLength, isGroup: opened.header.isGroup,
            members: members, base: opened.base, codec: opened.header.codec)
    }

    private func isChunk(_ id: ChunkID, _ bytes: UnsafeRawBufferPointer) -> Bool {
        identifier.id(of: SHA256State.digest(of: bytes), kind: kind) == id
    }
}

extension Repository {
    /// The blobs that can be read from a pack whose footer is damaged; nil when there are none. The whole pack is in memory
    /// meanwhile.
    ///
    /// When the pack's own header is damaged too, one of `sessions` may be its session. Throws when the store fails.
    /// Blocks; call from a thread of ours.
    func salvage(
        _ id: Identifier, _ kind: ChunkKind, size: UInt64, sessions: [SessionHeader], _ opener: BlobOpener
    ) throws -> (IndexedPack, [PackedBlob])? {
        // Offsets have 32 bits, and a writer's packs are far smaller.
        guard size <= UInt64(Self.largestSalvage) else { return nil }
        let name = ObjectNames.pack(id, kind)
        let buffer = Buffer(capacity: Int(size))
        let store = store
        do {
            _ = try BlockingBridge.run { () async throws(ObjectStorageError) in
                try await store.get(name, range: nil, into: buffer, maximumBytes: Self.largestSalvage)
            }
        } catch {
            throw RepositoryError(error, doing: "cannot read \(name)")
        }
        let header = try? PackHeader(decoding: Array(buffer.bytes.prefix(PackHeader.size)))
        defer { withExtendedLifetime(buffer) {} }
        for session in (header.map { [$0.session] } ?? []) + sessions {
            let scanner = PackScanner(pack: id, kind: kind, session: session, identifier: chunkIdentifier)
            let blobs = scanner.scan(buffer.bytes, opener)
            guard !blobs.isEmpty else { continue }
            let indexed = IndexedPack(
                id: id, kind: kind, bytes: UInt64(buffer.count), retainedUntil: Timestamp(nanoseconds: 0),
                session: session)
            return (indexed, blobs)
        }
        return nil
    }

    /// Bytes of the largest pack that is looked through.
    private static var largestSalvage: Int { 1 << 30 }
}
