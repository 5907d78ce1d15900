internal import Basics
internal import Logging
internal import ObjectStorage
package import RepositoryFormat

extension Repository {
    /// Loads the index: segments from the cache or the store, condemned packs, and, where a segment is damaged or lost,
    /// the footers of the packs that no segment covers any more.
    ///
    /// `recovering` also reads the footers of all packs that no segment lists though nothing is damaged: what an
    /// interrupted backup left. Throws `.storage`; damage is reported in the index, not thrown.
    package func loadIndex(recovering: Bool = false) async throws(RepositoryError) -> RepositoryIndex {
        do {
            let objects = try await store.listAll(prefix: ObjectNames.segments)
            let cache = SegmentCache(
                root: options.cacheDirectory, repositoryID: config.repositoryID, logger: options.logger)
            var damage: [RepositoryIndex.DamagedObject] = []
            var segments: [IndexSegment] = []
            var live = Set<Identifier>()
            for object in objects {
                guard let id = ObjectNames.identifier(of: object.key, under: ObjectNames.segments) else { continue }
                live.insert(id)
                do {
                    if let segment = try await loadSegment(id, cache) { segments.append(segment) }
                } catch let error as FormatError where error.code != .newerVersion {
                    options.logger.warning("index segment \(id) is damaged: \(error)")
                    damage.append(.init(object: object.key, message: error.message))
                }
            }
            cache.prune(keeping: live)
            let condemned = try await loadCondemned().packs
            let index = RepositoryIndex(segments: segments, condemned: condemned, damage: damage)
            if recovering || !damage.isEmpty { try await recoverUncoveredPacks(into: index) }
            return index
        } catch {
            throw RepositoryError(error, doing: "cannot load the index")
        }
    }

    /// The segment from the cache or the store; nil when it has been merged away meanwhile.
    func loadSegment(_ id: Identifier, _ cache: SegmentCache) async throws -> IndexSegment? {
        if let cached = cache.load(id) { return cached }
        let stored: [UInt8]
        do {
            stored = try await store.get(ObjectNames.segment(id), maximumBytes: IndexSegmentLayout.maximumBytes)
        } catch {
            if error.code == .notFound { return nil }
            guard error.code == .tooLarge else { throw error }
            throw FormatError(.damaged, "index segment \(id) is impossibly large", cause: error)
        }
        let plain = try IndexSegmentLayout.open(stored, id: id, keyring: keyring)
        return try cache.store(id, Buffer(plain))
    }

    /// Packs that are condemned now, and the store's time when that was so.
    func loadCondemned() async throws -> (
        packs: Set<Identifier>, records: [Identifier: CondemnedRecord], date: Timestamp
    ) {
        var packs = Set<Identifier>()
        var records: [Identifier: CondemnedRecord] = [:]
        var token: String?
        var date: Timestamp?
        repeat {
            let page = try await store.list(prefix: ObjectNames.condemned, token: token)
            date = date ?? page.date
            for object in page.objects {
                guard let id = ObjectNames.identifier(of: object.key, under: ObjectNames.condemned) else { continue }
                do {
                    let bytes = try await store.get(object.key, maximumBytes: 256 << 20)
                    let record = try CondemnedRecord(decoding: bytes, id: id, keyring: keyring)
                    records[id] = record
                    packs.formUnion(record.packs.map(\.id))
                } catch let error as ObjectStorageError where error.code == .notFound {
                    continue
                } catch let error as FormatError {
                    // Its packs are still there or the snapshots would not restore; `verify` names the record.
                    options.logger.warning("condemned record \(id) is not used: \(error)")
                }
            }
            token = page.next
        } while token != nil
        return (packs, records, date ?? Timestamp(nanoseconds: 0))
    }

    /// Reads the footers of packs that no segment lists and adds them as one segment in memory.
    func recoverUncoveredPacks(into index: RepositoryIndex) async throws {
        // A segment without entries is a note of how long packs are kept; it says nothing of what they hold.
        var known = Set<Identifier>()
        for segment in index.segments where segment.count > 0 { known.formUnion(segment.packs.map(\.id)) }
        var packs: [IndexedPack] = []
        var entries: [IndexEntry] = []
        for kind in ChunkKind.allCases {
            for object in try await store.listAll(prefix: kind.packPrefix) {
                guard let name = ObjectNames.parsePack(object.key), !known.contains(name.id) else { continue }
                do {
                    let (pack, blobs) = try await readFooter(name.id, kind, size: object.size)
                    entries += blobs.flatMap { $0.entries(pack: UInt32(packs.count)) }
                    packs.append(pack)
                } catch let error as FormatError {
                    options.logger.warning("pack \(object.key) cannot be listed: \(error)")
                } catch let error as ObjectStorageError {
                    // Collected since the listing.
                    guard error.code == .notFound else { throw error }
                }
            }
        }
        guard !packs.isEmpty else { return }
        index.addRecovered(try IndexSegment(recovered: packs, entries: entries, id: try Identifier.random()))
    }

    /// The header and footer of a pack of `size` bytes. Throws `FormatError` or `ObjectStorageError`.
    func readFooter(
        _ id: Identifier, _ kind: ChunkKind, size: UInt64
    ) async throws -> (IndexedPack, [PackedBlob]) {
        let name = ObjectNames.pack(id, kind)
        guard size >= UInt64(PackHeader.size + PackFooter.trailerSize) else {
            throw FormatError(.damaged, "\(name) is damaged: \(size) bytes are no pack")
        }
        let header = try PackHeader(decoding: try await read(name, 0..<UInt64(PackHeader.size)))
        guard header.id == id, header.kind == kind else {
            throw FormatError(.damaged, "\(name) is damaged: it holds pack \(header.id)")
        }
        let trailer = try await read(name, size - UInt64(PackFooter.trailerSize)..<size)
        let footerSize = UInt64(try PackFooter.size(trailer: trailer))
        guard footerSize <= size else {
            throw FormatError(.damaged, "\(name) is damaged: its footer is larger than itself")
        }
        let footer = try await read(name, size - footerSize..<size)
        let blobs = try PackFooter.decode(footer, pack: id, keyring: keyring)
        let pack = IndexedPack(
            id: id, kind: kind, bytes: size, retainedUntil: Timestamp(nanoseconds: 0), session: header.session)
        return (pack, blobs)
    }

    private func read(_ key: String, _ range: Range<UInt64>) async throws(ObjectStorageError) -> [UInt8] {
        let buffer = Buffer(capacity: Int(range.upperBound - range.lowerBound))
        _ = try await store.get(key, range: range, into: buffer, maximumBytes: buffer.capacity)
        return buffer.array()
    }
}

extension PackedBlob {
    /// The index entries of this blob's chunks.
    package func entries(pack: UInt32) -> [IndexEntry] {
        members.map {
            IndexEntry(
                id: $0.id, pack: pack, offset: offset, sealedLength: sealedLength, rawLength: $0.length,
                isGroup: isGroup, base: base, codec: codec)
        }
    }
}
