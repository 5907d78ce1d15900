internal import Basics
internal import Compression
internal import RepositoryFormat
internal import Sealing

/// Opens sealed blobs. One per thread: it owns that thread's ciphers and decompressors.
final class BlobOpener {
    private let keys: SessionKeys
    private var ciphers: [Identifier: AES256GCM] = [:]
    private let decompressor = ZstdDecompressor()
    private var planes: PlaneDecoder?
    private let bases: BasePool?
    private let opened = Buffer(capacity: 0)
    private let expanded: [Buffer]
    private var lastExpanded = 0

    /// Without `bases`, a chunk that is stored as a difference does not open.
    init(keys: SessionKeys, bases: BasePool? = nil, expandedAtOnce: Int = BlobOpener.expandedAtOnce) {
        self.keys = keys
        self.bases = bases
        expanded = (0..<expandedAtOnce).map { _ in Buffer(capacity: 0) }
    }

    /// Blobs that can be open at once when they were compressed, if nothing else is said: the memory of one is used again
    /// after as many calls.
    static let expandedAtOnce = 2

    /// The raw bytes of the blob that begins with its header at `bytes`, in memory that the next call re-uses.
    ///
    /// Throws `FormatError` when anything is not as sealed, `BaseReader.Failure` when the base of a difference is not to
    /// be had.
    func open(
        _ bytes: UnsafeRawBufferPointer, pack: Identifier, session: SessionHeader
    ) throws -> OpenedBlob {
        try open(bytes, into: nil, pack: pack, session: session)
    }

    /// As `open`, but decrypts where the blob lies: the sealed bytes are gone afterwards, and a stored blob's raw bytes
    /// are in their place. Spares a copy of everything that is read. A compressed blob's raw bytes are good until
    /// `expandedAtOnce` more of those have been opened; they begin `phase` bytes, less than `phases`, behind a multiple of
    /// `phases` in memory.
    func openInPlace(
        _ bytes: UnsafeMutableRawBufferPointer, pack: Identifier, session: SessionHeader, phase: Int = 0
    ) throws -> OpenedBlob {
        try open(UnsafeRawBufferPointer(bytes), into: bytes, pack: pack, session: session, phase: phase)
    }

    /// What memory is aligned to, in bytes: no disk's blocks are larger.
    static let phases = 4096

    private func open(
        _ bytes: UnsafeRawBufferPointer, into place: UnsafeMutableRawBufferPointer?, pack: Identifier,
        session: SessionHeader, phase: Int = 0
    ) throws -> OpenedBlob {
        let header = try BlobHeader(decoding: bytes)
        let end = BlobHeader.size + Int(header.sealedLength)
        guard bytes.count >= end else {
            throw FormatError(.damaged, "a blob of pack \(pack) is cut short: \(bytes.count) of \(end) bytes")
        }
        let sealed = UnsafeRawBufferPointer(rebasing: bytes[BlobHeader.size..<end])
        let plainLength = Int(header.sealedLength) - AES256GCM.tagSize
        let target: UnsafeMutableRawBufferPointer
        if let place {
            target = UnsafeMutableRawBufferPointer(rebasing: place[BlobHeader.size..<BlobHeader.size + plainLength])
        } else {
            opened.count = 0
            opened.ensureCapacity(plainLength)
            target = UnsafeMutableRawBufferPointer(rebasing: opened.storage[0..<plainLength])
        }
        do {
            let count = try header.context(pack: pack).withUnsafeBytes {
                try cipher(session).open(nonce: header.nonce, context: $0, sealed: sealed, into: target)
            }
            let plain = UnsafeRawBufferPointer(rebasing: target[0..<count])
            var blob = OpenedBlob(header: header, raw: plain)
            try expand(plain, &blob, pack, phase)
            return blob
        } catch let error as BaseReader.Failure {
            throw error
        } catch let error as FormatError {
            throw error
        } catch {
            throw FormatError(.damaged, "a blob of pack \(pack) does not open: \(error)", cause: error)
        }
    }

    private func expand(
        _ plain: UnsafeRawBufferPointer, _ blob: inout OpenedBlob, _ pack: Identifier, _ phase: Int
    ) throws {
        let header = blob.header
        switch header.codec {
        case .stored:
            guard plain.count == Int(header.rawLength) else {
                throw FormatError(
                    .damaged, "a blob of pack \(pack) has \(plain.count) bytes, \(header.rawLength) were sealed")
            }
        case .zstd, .planes, .difference:
            // What fails takes nobody's turn: the memory that it was written to is the next one's.
            let turn = (lastExpanded + 1) % expanded.count
            let expanded = expanded[turn]
            expanded.count = 0
            // A buffer begins at a multiple of `phases`.
            let place = phase..<phase + Int(header.rawLength)
            // Room for any phase, so that the next chunk of this length finds it too.
            expanded.ensureCapacity(Int(header.rawLength) + Self.phases)
            let target = UnsafeMutableRawBufferPointer(rebasing: expanded.storage[place])
            let length: Int
            switch header.codec {
            case .planes: length = try planeDecoder().decode(plain, into: target)
            case .difference: length = try expandDifference(plain, &blob, into: target, pack)
            default: length = try decompressor.decompress(plain, into: target)
            }
            guard length == Int(header.rawLength) else {
                throw FormatError(
                    .damaged, "a blob of pack \(pack) expands to \(length) bytes, not \(header.rawLength)")
            }
            lastExpanded = turn
            expanded.count = place.upperBound
            blob.raw = UnsafeRawBufferPointer(target)
        }
    }

    private func expandDifference(
        _ plain: UnsafeRawBufferPointer, _ blob: inout OpenedBlob, into target: UnsafeMutableRawBufferPointer,
        _ pack: Identifier
    ) throws -> Int {
        guard plain.count >= Digest.size else {
            throw FormatError(.damaged, "a blob of pack \(pack) is too short for a difference")
        }
        let base = ChunkID(Digest(UnsafeRawBufferPointer(rebasing: plain[..<Digest.size])))
        blob.base = base
        guard let bases else {
            throw BaseReader.Failure(
                id: base, pack: nil,
                error: RepositoryError(
                    .notFound, "chunk \(base), to which others are stored as the difference, is unknown"))
        }
        let decoder = planeDecoder()
        return try bases.withReader { reader in
            try decoder.decode(
                UnsafeRawBufferPointer(rebasing: plain[Digest.size...]), base: reader.bytes(of: base), into: target)
        }
    }

    private func planeDecoder() -> PlaneDecoder {
        if let planes { return planes }
        let decoder = PlaneDecoder()
        planes = decoder
        return decoder
    }

    private func cipher(_ session: SessionHeader) throws -> AES256GCM {
        if let cipher = ciphers[session.sessionID] { return cipher }
        if ciphers.count >= 64 { ciphers.removeAll() }
        let cipher = try AES256GCM(key: keys.key(session))
        ciphers[session.sessionID] = cipher
        return cipher
    }
}
