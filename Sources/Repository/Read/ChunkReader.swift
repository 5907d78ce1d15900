internal import Basics
internal import Logging
internal import ObjectStorage
package import RepositoryFormat
internal import Sealing
internal import Synchronization

/// Reads many chunks: sorts what is wanted by pack, fetches long ranges, opens and checks each chunk and hands it on.
///
/// Each of its threads fetches a range, then decodes it: with more threads than processors the network and the
/// processors are busy at once, and memory is bounded by threads times range.
package final class ChunkReader: Sendable {
    /// A chunk that did not arrive.
    package struct Failure: Sendable {
        package var id: ChunkID
        package var error: RepositoryError
        /// Where it, or the base that it needs, was looked for; nil when no pack was known to have it.
        var pack: Identifier?

        /// Whether the index may be out of date: the chunk, or the pack where it was looked for, is not there.
        var isLost: Bool { error.isMissingObject || error.code == .notFound }
    }

    private let repository: Repository
    private let index: Mutex<RepositoryIndex>
    private let keys: SessionKeys
    /// Whether each chunk's SHA-256 is computed again and compared with its id.
    private let rehash: Bool

    package init(repository: Repository, index: RepositoryIndex, rehash: Bool = true) {
        self.repository = repository
        self.index = Mutex(index)
        self.rehash = rehash
        keys = SessionKeys(keyring: repository.keyring)
    }

    /// The index in use; it changes when packs were found to have moved.
    package var currentIndex: RepositoryIndex { index.withLock { $0 } }

    /// Who takes chunks.
    private struct Taker: Sendable {
        let place: @Sendable (ChunkID) -> UInt64
        let order: @Sendable (ChunkID) -> Int
        let deliver: @Sendable (ChunkID, UnsafeRawBufferPointer) throws -> Void
    }

    /// Blobs to read from one pack in one request.
    private struct RangeRead: Sendable {
        var location: ChunkLocation
        var range: Range<UInt64>
        /// Each blob's place in the pack and the chunks wanted of it.
        var blobs: [(offset: UInt64, length: UInt64, wanted: [ChunkID])]
    }

    /// Reads every chunk of `ids` (each named once) and calls `deliver` with it, on several threads and in no order.
    /// Bytes are good during the call. An error of `deliver` ends everything.
    ///
    /// `place` answers where the chunk will be written, in bytes from a block of a disk: where it can, memory is laid out
    /// so that bytes for a block begin at a multiple of 4096, and need not be moved again.
    ///
    /// Ranges are fetched in the order of the lowest number that `order` gives to a chunk in them, and where those are
    /// equal pack by pack; what is asked for in one request does not depend on it. As many are under way as there are
    /// threads, so that chunks whose numbers are near arrive in any order.
    ///
    /// Blocks; call from a thread of ours. Answers the chunks that could not be read, with the reason.
    package func read(
        _ ids: [ChunkID], kind: ChunkKind, place: @escaping @Sendable (ChunkID) -> UInt64 = { _ in 0 },
        order: @escaping @Sendable (ChunkID) -> Int = { _ in 0 },
        deliver: @escaping @Sendable (ChunkID, UnsafeRawBufferPointer) throws -> Void
    ) throws(RepositoryError) -> [Failure] {
        let taker = Taker(place: place, order: order, deliver: deliver)
        let failures = try pass(ids, kind, currentIndex, taker)
        guard !failures.isEmpty else { return [] }
        if failures.contains(where: \.isLost) {
            // A pack may have been merged into another and removed since the index was loaded: look once more.
            let repository = repository
            let fresh = try BlockingBridge.run { () async throws(RepositoryError) in
                try await repository.loadIndex(recovering: true)
            }
            fresh.markMissing(Set(failures.filter(\.error.isMissingObject).compactMap(\.pack)))
            index.withLock { $0 = fresh }
        }
        // What is damaged or gone in one pack may be whole in another.
        let others = currentIndex.avoiding(Set(failures.compactMap(\.pack)))
        let first = Dictionary(failures.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        return try pass(failures.map(\.id), kind, others, taker).map { second in
            second.pack == nil ? first[second.id] ?? second : second
        }
    }

    private func pass(
        _ ids: [ChunkID], _ kind: ChunkKind, _ index: RepositoryIndex,
        _ taker: Taker
    ) throws(RepositoryError) -> [Failure] {
        let (reads, unknown) = plan(ids, kind, index, taker.order)
        let next = Atomic<Int>(0)
        let failures = Mutex<[Failure]>(unknown)
        let fatal = Mutex<RepositoryError?>(nil)
        let threads = min(max(repository.plan.ranges, 1), max(reads.count, 1))
        // A chunk is hashed when it has been made of its base, so that one need not be.
        let bases = BasePool(repository: repository, keys: keys, rehash: false, index: index)
        WorkerThreads(count: threads, name: "becalm-read") { _ in
            do {
                let opener = BlobOpener(keys: self.keys, bases: bases)
                let buffer = Buffer(capacity: 64 << 10)
                while fatal.withLock({ $0 == nil }) {
                    let position = next.wrappingAdd(1, ordering: .relaxed).oldValue
                    guard position < reads.count else { return }
                    let failed = try self.perform(reads[position], kind, opener, buffer, taker)
                    if !failed.isEmpty { failures.withLock { $0 += failed } }
                }
            } catch {
                fatal.withLock { $0 = $0 ?? RepositoryError(error) }
            }
        }.join()
        if let error = fatal.withLock({ $0 }) { throw error }
        return failures.withLock { $0 }
    }

    /// Locates the chunks and joins neighbours: gaps up to 512 KiB are read along, ranges stay within the plan.
    private func plan(
        _ ids: [ChunkID], _ kind: ChunkKind, _ index: RepositoryIndex, _ order: (ChunkID) -> Int
    ) -> ([RangeRead], [Failure]) {
        var located: [(id: ChunkID, location: ChunkLocation)] = []
        located.reserveCapacity(ids.count)
        var unknown: [Failure] = []
        for id in ids {
            if let location = index.findForReading(id, kind: kind) {
                located.append((id, location))
            } else {
                unknown.append(
                    Failure(id: id, error: RepositoryError(.notFound, "chunk \(id) is in no pack that the index knows"))
                )
            }
        }
        located.sort { ($0.location.pack, $0.location.offset) < ($1.location.pack, $1.location.offset) }
        let gap: UInt64 = 512 << 10
        let limit = UInt64(repository.plan.rangeBytes)
        var reads: [RangeRead] = []
        for (id, location) in located {
            let range = location.range
            let length = range.upperBound - range.lowerBound
            if var last = reads.last, last.location.pack == location.pack {
                if let blob = last.blobs.last, blob.offset == range.lowerBound {
                    last.blobs[last.blobs.count - 1].wanted.append(id)
                    reads[reads.count - 1] = last
                    continue
                }
                if range.lowerBound >= last.range.upperBound, range.lowerBound - last.range.upperBound <= gap,
                    range.upperBound - last.range.lowerBound <= limit
                {
                    last.range = last.range.lowerBound..<range.upperBound
                    last.blobs.append((range.lowerBound, length, [id]))
                    reads[reads.count - 1] = last
                    continue
                }
            }
            reads.append(
                RangeRead(
                    location: location, range: ObjectBlock.start(before: range.lowerBound)..<range.upperBound,
                    blobs: [(range.lowerBound, length, [id])]))
        }
        let orders = reads.map { $0.blobs.lazy.flatMap(\.wanted).map(order).min() ?? 0 }
        guard orders.contains(where: { $0 != orders[0] }) else { return (reads, unknown) }
        let sorted = reads.indices.sorted { (orders[$0], $0) < (orders[$1], $1) }
        return (sorted.map { reads[$0] }, unknown)
    }

    /// Fetches one range and hands its chunks on; damage and a missing pack are answered, all else is thrown.
    private func perform(
        _ read: RangeRead, _ kind: ChunkKind, _ opener: BlobOpener, _ buffer: Buffer, _ taker: Taker
    ) throws -> [Failure] {
        let store = repository.store
        let name = read.location.objectName
        let (range, limit) = (
            read.range, max(repository.plan.rangeBytes, Int(read.range.upperBound - read.range.lowerBound))
        )
        buffer.count = 0
        do {
            _ = try BlockingBridge.run { () async throws(ObjectStorageError) in
                try await store.get(name, range: range, into: buffer, maximumBytes: limit)
            }
        } catch {
            guard [.notFound, .invalidArgument, .corrupted].contains(error.code) else { throw error }
            let failure = RepositoryError(error, doing: "cannot read \(name)")
            return read.blobs.flatMap { blob in
                blob.wanted.map { Failure(id: $0, error: failure, pack: read.location.pack) }
            }
        }
        var failures: [Failure] = []
        var withoutBase: [Failure] = []
        var chunks: [Opened] = []
        var expanded = 0
        for blob in read.blobs {
            let start = Int(blob.offset - read.range.lowerBound)
            do {
                guard start + Int(blob.length) <= buffer.count else {
                    throw FormatError(.damaged, "\(name) is cut short: a blob at byte \(blob.offset) is not there")
                }
                let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.storage[start..<start + Int(blob.length)])
                if expanded == BlobOpener.expandedAtOnce {
                    failures += try handOn(chunks, kind, name, taker.deliver)
                    (chunks, expanded) = ([], 0)
                }
                let phase = blob.wanted.count == 1 ? taker.place(blob.wanted[0]) % UInt64(BlobOpener.phases) : 0
                let opened = try opener.openInPlace(
                    bytes, pack: read.location.pack, session: read.location.session, phase: Int(phase))
                if opened.header.codec != .stored { expanded += 1 }
                try gather(opened.header, opened.raw, blob.wanted, name, &chunks, &failures)
            } catch let error as BaseReader.Failure {
                guard error.isLoss else { throw error.error }
                // The base's pack is to blame, not this one.
                withoutBase += blob.wanted.map { Failure(id: $0, error: error.error, pack: error.pack) }
            } catch let error as FormatError {
                let failure = RepositoryError(error, doing: name)
                failures += blob.wanted.map { Failure(id: $0, error: failure) }
            }
        }
        failures += try handOn(chunks, kind, name, taker.deliver)
        for index in failures.indices { failures[index].pack = read.location.pack }
        return failures + withoutBase
    }

    /// A chunk in the clear.
    private struct Opened {
        var id: ChunkID
        var bytes: UnsafeRawBufferPointer
    }

    /// The wanted chunks of an opened blob.
    private func gather(
        _ header: BlobHeader, _ raw: UnsafeRawBufferPointer, _ wanted: [ChunkID], _ name: String,
        _ chunks: inout [Opened], _ failures: inout [Failure]
    ) throws(FormatError) {
        guard header.isGroup else {
            chunks += wanted.map { Opened(id: $0, bytes: raw) }
            return
        }
        var places: [ChunkID: Range<Int>] = [:]
        for (member, range) in try BlobGroup(decoding: raw).ranges { places[member.id] = range }
        for id in wanted {
            if let range = places[id] {
                chunks.append(Opened(id: id, bytes: UnsafeRawBufferPointer(rebasing: raw[range])))
            } else {
                failures.append(
                    Failure(
                        id: id,
                        error: RepositoryError(
                            .damaged, "\(name) lacks chunk \(id), which the index places there")))
            }
        }
    }

    /// Hands on the chunks that are what their ids say; answers the others.
    private func handOn(
        _ chunks: [Opened], _ kind: ChunkKind, _ name: String,
        _ deliver: (ChunkID, UnsafeRawBufferPointer) throws -> Void
    ) throws -> [Failure] {
        let digests = rehash ? SHA256State.digests(of: chunks.map { [$0.bytes] }) : []
        var failures: [Failure] = []
        for (number, chunk) in chunks.enumerated() {
            if rehash, repository.chunkIdentifier.id(of: digests[number], kind: kind) != chunk.id {
                failures.append(
                    Failure(
                        id: chunk.id,
                        error: RepositoryError(
                            .damaged,
                            "\(name) holds other bytes under chunk \(chunk.id): whoever wrote it lied or erred")))
            } else {
                try deliver(chunk.id, chunk.bytes)
            }
        }
        return failures
    }
}
