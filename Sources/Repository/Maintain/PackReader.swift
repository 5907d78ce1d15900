internal import Basics
internal import ObjectStorage
internal import RepositoryFormat
internal import Sealing

/// Reads one pack after another from end to end and checks every byte that means something. One per thread.
final class PackReader {
    /// What was found in a pack.
    struct Findings: Sendable {
        var messages: [String] = []
        /// Chunks that cannot be read.
        var bad: Set<TreeMarker.Key> = []
        /// Whether the pack went away while it was looked at.
        var isGone = false
        /// What the index has to say of it, by its own list.
        var fingerprint = PackFingerprint()
        /// That list.
        var entries: [IndexEntry] = []
        var bytes: UInt64 = 0
        var chunks: UInt64 = 0
        /// Chunks of other packs that chunks of this one are stored as the difference to, and that cannot be read, with
        /// the pack and the reason.
        var lostBases: [ChunkID: BaseReader.Failure] = [:]

        fileprivate mutating func note(_ blobs: [PackedBlob]) {
            entries = blobs.flatMap { $0.entries(pack: 0) }
            for entry in entries { fingerprint.add(entry) }
        }
    }

    private let repository: Repository
    private let opener: BlobOpener
    private let buffer = Buffer(capacity: 64 << 10)

    /// `bases` are shared with others; nothing is hashed there, for what is made of them is.
    init(repository: Repository, keys: SessionKeys, bases: BasePool) {
        self.repository = repository
        opener = BlobOpener(keys: keys, bases: bases)
    }

    /// Checks the pack. `indexed` is what the index knows of it. Blocks; throws what the store throws.
    func check(_ id: Identifier, _ pack: RepositorySurvey.Pack, indexed: IndexedPack) throws -> Findings {
        var findings = Findings()
        let repository = repository
        do {
            let (own, blobs) = try BlockingBridge.run { () async throws in
                try await repository.readFooter(id, pack.kind, size: pack.size)
            }
            if own.session != indexed.session { findings.messages.append("its header is damaged") }
            findings.note(blobs)
            try read(blobs, id, pack, indexed.session, &findings)
        } catch let error as FormatError {
            if error.code == .newerVersion { throw error }
            findings.messages.append(error.message)
            try salvage(id, pack, indexed, &findings)
        } catch let error as ObjectStorageError {
            guard error.code == .notFound else { throw error }
            findings.isGone = true
        }
        return findings
    }

    private func read(
        _ blobs: [PackedBlob], _ id: Identifier, _ pack: RepositorySurvey.Pack, _ session: SessionHeader,
        _ findings: inout Findings
    ) throws {
        let limit = UInt64(repository.plan.rangeBytes)
        var start = 0
        while start < blobs.count {
            // Neighbours are read together up to the plan's length.
            let from = ObjectBlock.start(before: UInt64(blobs[start].offset))
            var end = start
            while end < blobs.count, UInt64(blobs[end].offset) >= from, blobs[end].endOffset >= from,
                end == start || blobs[end].endOffset - from <= limit
            {
                end += 1
            }
            end = max(end, start + 1)
            let upTo = blobs[start..<end].map(\.endOffset).max() ?? from
            guard upTo <= pack.size, upTo > from else {
                findings.messages.append("its list names a blob at byte \(from) that lies beyond its end")
                for blob in blobs[start..<end] { spoil(blob, pack.kind, &findings) }
                start = end
                continue
            }
            try fetch(ObjectNames.pack(id, pack.kind), from..<upTo)
            findings.bytes += UInt64(buffer.count)
            for blob in blobs[start..<end] { try check(blob, at: from, id, pack.kind, session, &findings) }
            start = end
        }
    }

    private func fetch(_ name: String, _ range: Range<UInt64>) throws {
        let store = repository.store
        let buffer = buffer
        let count = Int(range.upperBound - range.lowerBound)
        _ = try BlockingBridge.run { () async throws(ObjectStorageError) in
            try await store.get(name, range: range, into: buffer, maximumBytes: count)
        }
    }

    private func check(
        _ blob: PackedBlob, at base: UInt64, _ id: Identifier, _ kind: ChunkKind, _ session: SessionHeader,
        _ findings: inout Findings
    ) throws {
        do {
            let from = Int(UInt64(blob.offset) - base)
            guard from >= 0, from < buffer.count else {
                throw FormatError(.damaged, "the blob at byte \(blob.offset) is not there")
            }
            // Each blob is opened once, so the room of its sealed bytes may be used.
            let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.storage[from..<buffer.count])
            let opened = try opener.openInPlace(bytes, pack: id, session: session)
            let (header, raw) = (opened.header, opened.raw)
            guard header.sealedLength == blob.sealedLength, header.isGroup == blob.isGroup,
                header.id == blob.members.first?.id, opened.base == blob.base
            else { throw FormatError(.damaged, "the blob at byte \(blob.offset) is not the one that its list names") }
            if header.isGroup {
                var places: [ChunkID: Range<Int>] = [:]
                for (member, range) in try BlobGroup(decoding: raw).ranges { places[member.id] = range }
                for member in blob.members {
                    let content = places[member.id].map { UnsafeRawBufferPointer(rebasing: raw[$0]) }
                    check(member, content, kind, &findings)
                }
            } else {
                for member in blob.members { check(member, raw, kind, &findings) }
            }
        } catch let failure as BaseReader.Failure {
            // This pack is as it should be, but what it holds is of no use.
            guard failure.isLoss else { throw failure.error }
            findings.lostBases[failure.id] = failure
        } catch {
            findings.messages.append("\(error)")
            spoil(blob, kind, &findings)
        }
    }

    private func check(
        _ member: BlobGroup.Member, _ content: UnsafeRawBufferPointer?, _ kind: ChunkKind, _ findings: inout Findings
    ) {
        findings.chunks += 1
        guard let content, content.count == Int(member.length),
            repository.chunkIdentifier.id(of: SHA256State.digest(of: content), kind: kind) == member.id
        else {
            findings.messages.append("it holds other bytes under chunk \(member.id)")
            findings.bad.insert(.init(id: member.id, kind: kind))
            return
        }
    }

    private func spoil(_ blob: PackedBlob, _ kind: ChunkKind, _ findings: inout Findings) {
        for member in blob.members { findings.bad.insert(.init(id: member.id, kind: kind)) }
    }

    /// The list of blobs is damaged: what can be read without it is compared with what the index expects.
    private func salvage(
        _ id: Identifier, _ pack: RepositorySurvey.Pack, _ indexed: IndexedPack, _ findings: inout Findings
    ) throws {
        guard
            let (_, blobs) = try repository.salvage(
                id, pack.kind, size: pack.size, sessions: [indexed.session], opener)
        else { return findings.messages.append("none of its blobs can be read") }
        findings.chunks += blobs.reduce(0) { $0 + UInt64($1.members.count) }
        findings.note(blobs)
        findings.bytes += pack.size
    }
}

extension PackedBlob {
    /// Bytes from the pack's start to the blob's end.
    var endOffset: UInt64 { UInt64(offset) + UInt64(BlobHeader.size) + UInt64(sealedLength) }
}

/// A sum over a pack's index entries in any order: equal lists have equal sums, and lists that differ by accident do not.
struct PackFingerprint: Hashable, Sendable {
    private(set) var count: UInt64 = 0
    private(set) var sum: UInt64 = 0

    mutating func add(_ entry: IndexEntry) {
        count += 1
        // Each field takes part in a multiplicative mix (the finisher of SplitMix64).
        var mixed = entry.high ^ (entry.low &* 0x9e37_79b9_7f4a_7c15)
        mixed ^= UInt64(entry.offset) << 32 | UInt64(entry.sealedLength)
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed ^= UInt64(entry.rawLength) << 1 | (entry.isGroup ? 1 : 0)
        if let base = entry.base { mixed ^= base.digest.prefix.0 }
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        sum = sum &+ (mixed ^ (mixed >> 31))
    }
}
