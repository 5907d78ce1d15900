internal import Basics
internal import Chunking
internal import Repository
internal import RepositoryFormat
internal import Sealing
internal import Synchronization

/// A file that is being stored in many pieces by many threads.
///
/// Strips (pieces of a fixed size) are read and scanned for cut candidates in any order; their candidates are joined in
/// the file's order, which yields the cuts (of a file of tensors its layout does); each chunk between two cuts is stored by whichever thread is free, from the
/// strips' memory. When the file's SHA-256 is wanted, it goes over the chunks in order and takes each chunk's along.
///
/// A block device, or a file that is the image of one, is cut at fixed places (`FileCutter.pieceBytes`), and its pieces of
/// zeros are holes. A device is read to its end each time: nothing but its bytes tells what was written to it, so that no
/// journal and no parent spares reading any of them.
final class LargeFile: Sendable {
    /// Bytes read in front of a strip so that it can be scanned by itself.
    static let leadIn = CutScanner.window

    /// A strip to be read.
    struct StripPlan: Sendable {
        /// Counts from 0.
        var number: Int
        /// Bytes of the file.
        var range: Range<UInt64>
        /// Whether no more strips of this file follow.
        var isLast: Bool
        /// Whether a hole, or the file's end, follows it: the chunk ends with it.
        var endsExtent: Bool
        /// Bytes of hole in front of it.
        var holeBefore: UInt64
    }

    /// A strip in memory; `bytes` begin with `lead` bytes that belong to the strip before.
    final class Strip: Sendable {
        let plan: StripPlan
        let buffer: Buffer
        let lead: Int
        let candidates: [CutCandidate]
        private let holders: Atomic<Int>
        private let scheduler: BackupScheduler

        init(
            plan: StripPlan, buffer: Buffer, lead: Int, candidates: [CutCandidate], holders: Int,
            scheduler: BackupScheduler
        ) {
            self.plan = plan
            self.buffer = buffer
            self.lead = lead
            self.candidates = candidates
            self.holders = Atomic(holders)
            self.scheduler = scheduler
        }

        func hold() { holders.wrappingAdd(1, ordering: .relaxed) }

        func release() {
            if holders.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 { scheduler.give(buffer) }
        }

        /// The strip's part of `range`, in bytes of the file.
        func bytes(_ range: Range<UInt64>) -> UnsafeRawBufferPointer {
            let part = range.clamped(to: plan.range)
            let start = lead + Int(part.lowerBound - plan.range.lowerBound)
            return UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<start + part.count])
        }
    }

    /// A chunk to be stored.
    struct ChunkWork: Sendable {
        let file: LargeFile
        /// Its number in the file's list of items.
        var item: Int
        var range: Range<UInt64>
        /// The strips it lies in; each is held for it.
        var strips: [Strip]

        /// The chunk's bytes; good while the strips are held.
        var pieces: [UnsafeRawBufferPointer] { strips.map { $0.bytes(range) } }

        /// Whether it is a hole of a device: all zeros.
        var isHole: Bool { file.isImage && pieces.allSatisfy(\.isZero) }
    }

    /// What the file's SHA-256 goes over.
    private enum HashWork: Sendable {
        /// A strip of which an earlier run has stored the chunks.
        case stored(Strip)
        case chunk(ChunkWork)
    }

    private struct State {
        /// Strips that arrived before their predecessors.
        var early: [Int: Strip] = [:]
        var nextToCut = 0
        var cutter: FileCutter
        /// Strips whose bytes are not all cut yet, in order.
        var uncut: [Strip] = []
        var cutUpTo: UInt64
        var items: FileItems
        var allCut = false
        /// What waits to be hashed, in order, and whether somebody is at it.
        var unhashed: [HashWork] = []
        var isHashing = false
        var sha = SHA256State()
        var hashedUpTo: UInt64
        /// States of the SHA-256 at recent strip ends, for the journal.
        var checkpoints: [(offset: UInt64, state: [UInt8])] = []
        var failure: SnapshotError?
        /// Where that was.
        var failedAt = UInt64.max
        var isFinished = false

        /// Notes a failure of the strip at `offset`: the first one in the file counts, whichever was met first, and of what
        /// cannot be read and what was cut off the former.
        mutating func fail(_ error: SnapshotError, at offset: UInt64) {
            if let known = failure {
                let (isCut, wasCut) = (error.code == .changedWhileRead, known.code == .changedWhileRead)
                guard isCut == wasCut ? offset < failedAt : wasCut else { return }
            }
            (failure, failedAt) = (error, offset)
        }
    }

    let directory: DirectoryHandle
    /// Its name in the directory; the entry's may differ at the snapshot's root.
    let name: [UInt8]
    let entry: TreeEntry
    /// What the walk saw of the file: by it other names of the inode wait for this one.
    private let walked: FileMetadata
    let slot: DirectoryNode.Slot
    let pathDigest: Digest
    private let reader: FileReader
    private let extents: [Range<UInt64>]
    private let context: BackupContext
    private let scheduler: BackupScheduler
    private let wantsDigest: Bool
    /// Whether it is cut as a device is.
    private let isImage: Bool
    private let traits: FileTraits
    private let state: Mutex<State>
    private let cursor: Mutex<(extent: Int, offset: UInt64, number: Int)>

    /// The file `entry` of `directory`, opened. `bases` are what it may resemble, asked for when it is a file of tensors.
    /// `device` is the device to be read in its place. With `isImage` a file is cut as a device is.
    init(
        directory: DirectoryHandle, name: [UInt8], entry: TreeEntry, slot: DirectoryNode.Slot,
        context: BackupContext, scheduler: BackupScheduler, device: FileReader? = nil, isImage: Bool = false,
        bases: () -> FileBases = { FileBases() }
    ) throws(SnapshotError) {
        self.directory = directory
        self.name = name
        self.slot = slot
        self.context = context
        self.scheduler = scheduler
        wantsDigest = context.request.fileDigests
        self.isImage = isImage || device != nil
        if let device { reader = device } else { reader = try directory.openFile(name: name) }
        walked = entry.metadata
        // What the open file says counts: it may have grown since the directory was looked at.
        let fresh = try reader.metadata()
        var entry = entry
        entry.metadata.size = fresh.size
        entry.metadata.modified = fresh.modified
        entry.metadata.changed = fresh.changed
        entry.metadata.inode = fresh.inode
        entry.metadata.device = fresh.device
        if isImage { entry.metadata.deviceNumber = FileMetadata.imageDeviceNumber }
        self.entry = entry
        // It may grow on from here: what is behind the size is not of this snapshot.
        extents = try reader.extents().filter { $0.lowerBound < fresh.size }.map {
            $0.lowerBound..<min($0.upperBound, fresh.size)
        }
        let cuts = self.isImage ? nil : Self.cuts(of: reader, size: fresh.size)
        traits = FileTraits(cuts: cuts, bases: cuts == nil ? FileBases() : bases())
        reader.adviseSequential()
        pathDigest = context.journal.pathDigest(directory.path(of: name))
        let resumed =
            extents.count == 1 && device == nil
            ? context.journal.resume(
                pathDigest, entry.metadata, dataEnd: extents[0].upperBound, needsHash: wantsDigest)
            : nil
        let start = resumed?.offset ?? extents.first?.lowerBound ?? 0
        var state = State(
            cutter: self.isImage
                ? .fixed(start: start)
                : FileCutter(cuts: traits.cuts, parameters: context.parameters, start: start), cutUpTo: start,
            items: FileItems(resumed?.items ?? [], joinsHoles: self.isImage), hashedUpTo: resumed?.hashedUpTo ?? 0)
        if let resumed, let sha = SHA256State(exported: resumed.hashState) { state.sha = sha }
        self.state = Mutex(state)
        // Bytes between the hash's state and the first new chunk are read once more, for the hash alone.
        let begin = wantsDigest ? min(start, resumed?.hashedUpTo ?? start) : start
        cursor = Mutex((0, begin, 0))
        hasNoStrips = extents.last.map { begin >= $0.upperBound } ?? true
        resumedUpTo = resumed?.offset ?? 0
        if start > 0, resumed != nil { context.progress.update { $0.bytes += start } }
    }

    /// Where the file is cut if it is one of tensors. What cannot be read says so when it is read for good.
    private static func cuts(of reader: FileReader, size: UInt64) -> TensorCuts? {
        try? TensorCuts(size: size) { try reader.read(at: $0, into: $1) }
    }

    /// Whether it is cut by its content.
    private var isScanned: Bool { traits.cuts == nil && !isImage }

    /// Bytes that an earlier run has stored.
    private let resumedUpTo: UInt64

    /// Whether there is nothing to read: an empty file, one hole, or all of it stored by an earlier run.
    let hasNoStrips: Bool

    /// Tells the journal and has the file queued by `queue`, whose answer it gives; one with nothing to read is finished
    /// at once. What keeps it from being stored is the cause of a `SnapshotError` with the code `.failed`.
    func begin(_ encoder: ChunkEncoder, queue: () -> Bool) throws(SnapshotError) -> Bool {
        context.journal.began(self)
        guard hasNoStrips else { return queue() }
        do { try finish(encoder) } catch { throw SnapshotError(.failed, "\(error)", cause: error) }
        return true
    }

    /// The next strip. Under the scheduler's lock; only while the last one was not `isLast`.
    func nextStrip(_ stripBytes: Int) -> StripPlan {
        cursor.withLock { cursor in
            let extent = extents[cursor.extent]
            let begin = cursor.offset
            // Strips end at multiples of their size, so that the SHA-256's state there can be exported.
            let boundary = (begin / UInt64(stripBytes) + 1) * UInt64(stripBytes)
            let end = min(boundary, extent.upperBound)
            let before = cursor.extent == 0 ? 0 : extents[cursor.extent - 1].upperBound
            let plan = StripPlan(
                number: cursor.number, range: begin..<end,
                isLast: end == extent.upperBound && cursor.extent == extents.count - 1,
                endsExtent: end == extent.upperBound,
                holeBefore: begin == extent.lowerBound ? extent.lowerBound - before : 0)
            cursor.number += 1
            if end == extent.upperBound {
                cursor.extent += 1
                cursor.offset = cursor.extent < extents.count ? extents[cursor.extent].lowerBound : end
            } else {
                cursor.offset = end
            }
            return plan
        }
    }

    /// Reads and scans a strip and joins it to the others. Answers the work that comes of it.
    func read(_ plan: StripPlan, into buffer: Buffer) throws -> [BackupScheduler.Job] {
        let lead = isScanned ? Int(min(UInt64(Self.leadIn), plan.range.lowerBound)) : 0
        let wanted = lead + plan.range.count
        var candidates: [CutCandidate] = []
        do throws(SnapshotError) {
            // Of a file that cannot be read nothing is kept; of one that was cut off, all that is there.
            let hasFailed = state.withLock { state in
                state.failedAt < plan.range.lowerBound && state.failure?.code != .changedWhileRead
            }
            buffer.count =
                hasFailed
                ? 0
                : try reader.read(
                    at: plan.range.lowerBound - UInt64(lead),
                    into: UnsafeMutableRawBufferPointer(rebasing: buffer.storage[0..<wanted]))
        } catch {
            state.withLock { $0.fail(error, at: plan.range.lowerBound) }
            buffer.count = 0
        }
        if buffer.count < wanted {
            // Cut off meanwhile, or unreadable: the file is noted; zeros keep the pieces in place until it is dropped.
            let missing = UnsafeMutableRawBufferPointer(rebasing: buffer.storage[buffer.count..<wanted])
            missing.initializeMemory(as: UInt8.self, repeating: 0)
            let error = SnapshotError(
                .changedWhileRead, "became shorter while it was read: zeros stand for the rest", path: reader.path)
            state.withLock { $0.fail(error, at: plan.range.lowerBound) }
            buffer.count = wanted
        }
        if isScanned {
            context.scanner.scan(buffer.bytes, leadIn: lead, offset: plan.range.lowerBound, into: &candidates)
        }
        return join(
            Strip(plan: plan, buffer: buffer, lead: lead, candidates: candidates, holders: 1, scheduler: scheduler))
    }

    /// Takes a strip up and cuts as far as its predecessors are there.
    private func join(_ strip: Strip) -> [BackupScheduler.Job] {
        state.withLock { state in
            state.early[strip.plan.number] = strip
            var jobs: [BackupScheduler.Job] = []
            while let next = state.early.removeValue(forKey: state.nextToCut) {
                state.nextToCut += 1
                cut(next, &state, &jobs)
            }
            if !state.isHashing, !state.unhashed.isEmpty {
                state.isHashing = true
                jobs.append(.hash(self))
            }
            return jobs
        }
    }

    private func cut(_ strip: Strip, _ state: inout State, _ jobs: inout [BackupScheduler.Job]) {
        let plan = strip.plan
        // What lies before the resumed place is there for the hash alone.
        if wantsDigest, plan.range.lowerBound < resumedUpTo {
            strip.hold()
            state.unhashed.append(.stored(strip))
        }
        guard plan.range.upperBound > resumedUpTo else {
            strip.release()
            if plan.isLast { end(&state) }
            return
        }
        if plan.holeBefore > 0 {
            state.items.append(.hole(plan.holeBefore))
            let start = plan.range.lowerBound
            state.cutter =
                isImage
                ? .fixed(start: start) : FileCutter(cuts: traits.cuts, parameters: context.parameters, start: start)
            state.cutUpTo = plan.range.lowerBound
        }
        state.uncut.append(strip)
        state.cutter.add(strip.candidates.filter { $0.position > state.cutUpTo })
        for position in state.cutter.cuts(scannedUpTo: plan.range.upperBound, endOfFile: plan.endsExtent) {
            let range = state.cutUpTo..<position
            let strips = state.uncut.filter { $0.plan.range.overlaps(range) }
            for held in strips { held.hold() }
            let work = ChunkWork(file: self, item: state.items.reserve(), range: range, strips: strips)
            if wantsDigest { state.unhashed.append(.chunk(work)) } else { jobs.append(.chunks([work])) }
            state.cutUpTo = position
            while let first = state.uncut.first, first.plan.range.upperBound <= position {
                first.release()
                state.uncut.removeFirst()
            }
        }
        if plan.isLast { end(&state) }
    }

    private func end(_ state: inout State) {
        let dataEnd = extents.last?.upperBound ?? 0
        if entry.metadata.size > dataEnd { state.items.append(.hole(entry.metadata.size - dataEnd)) }
        state.allCut = true
    }

    /// Hashes chunks, two at a time, and stores them.
    static func store(_ works: [ChunkWork], _ encoder: ChunkEncoder) throws {
        var chunks: [ChunkWork] = []
        for work in works {
            // Looked at once: a hole's strips may be somebody else's when it is settled.
            if work.isHole {
                try work.file.settle(work, .hole(UInt64(work.range.count)), encoder)
            } else {
                chunks.append(work)
            }
        }
        guard !chunks.isEmpty else { return }
        let digests = SHA256State.digests(of: chunks.map(\.pieces))
        for (work, digest) in zip(chunks, digests) { try work.file.store(work, digest, encoder) }
    }

    /// Stores a chunk and finishes the file when it was the last thing to do.
    func store(_ work: ChunkWork, _ digest: Digest, _ encoder: ChunkEncoder) throws {
        let id = try encoder.add(
            work.pieces, contentDigest: digest, kind: .data, traits: traits.traits(of: work.range))
        try settle(work, .chunk(id, length: UInt32(work.range.count)), encoder)
    }

    /// Notes what stands for a chunk, and finishes the file when it was the last thing to do.
    private func settle(_ work: ChunkWork, _ item: ContentItem, _ encoder: ChunkEncoder) throws {
        for strip in work.strips { strip.release() }
        context.progress.update { $0.bytes += UInt64(work.range.count) }
        let isDone = state.withLock { state in
            state.items.settle(work.item, item)
            return claimFinish(&state)
        }
        if isDone { try finish(encoder) }
    }

    /// Goes on with the file's SHA-256 until nothing is left to hash, takes each chunk's along, and hands the chunks on;
    /// finishes the file when that was the last thing to do.
    func hash(_ encoder: ChunkEncoder) throws {
        while true {
            let next = state.withLock { state -> (HashWork, SHA256State, UInt64)? in
                guard !state.unhashed.isEmpty else {
                    state.isHashing = false
                    return nil
                }
                return (state.unhashed.removeFirst(), state.sha, state.hashedUpTo)
            }
            guard let next else { break }
            var (sha, offset) = (next.1, next.2)
            switch next.0 {
            case .stored(let strip):
                let range = max(offset, strip.plan.range.lowerBound)..<min(strip.plan.range.upperBound, resumedUpTo)
                sha.update(strip.bytes(range))
                note(&sha, range.upperBound)
                strip.release()
            case .chunk(let work):
                // Between chunks there are holes only.
                Self.updateZeros(&sha, work.range.lowerBound - offset)
                offset = work.range.lowerBound
                guard !work.isHole else {
                    Self.updateZeros(&sha, UInt64(work.range.count))
                    note(&sha, work.range.upperBound)
                    try settle(work, .hole(UInt64(work.range.count)), encoder)
                    continue
                }
                var digest = SHA256State()
                for piece in work.pieces {
                    SHA256State.update(&sha, piece, &digest, piece)
                    offset += UInt64(piece.count)
                    note(&sha, offset)
                }
                scheduler.add([.hashed(work, digest.finish())])
            }
        }
        let isDone = state.withLock { claimFinish(&$0) }
        if isDone { try finish(encoder) }
    }

    /// Keeps the state of the file's SHA-256 after its first `offset` bytes.
    private func note(_ sha: inout SHA256State, _ offset: UInt64) {
        let exported = sha.exported
        state.withLock { [sha] state in
            state.sha = sha
            state.hashedUpTo = offset
            if let exported {
                state.checkpoints.append((offset, exported))
                if state.checkpoints.count > 64 { state.checkpoints.removeFirst() }
            }
        }
    }

    private func claimFinish(_ state: inout State) -> Bool {
        guard state.allCut, state.items.isSettled, !state.isFinished else { return false }
        if wantsDigest, state.isHashing || !state.unhashed.isEmpty || state.hashedUpTo < (extents.last?.upperBound ?? 0)
        {
            return false
        }
        state.isFinished = true
        return true
    }

    /// Builds the entry and fills its slot. Called once; for a file without strips by the walker.
    func finish(_ encoder: ChunkEncoder) throws {
        var (items, sha, failure) = state.withLock { state -> ([ContentItem], SHA256State, SnapshotError?) in
            if hasNoStrips { end(&state) }
            return (state.items.take(), state.sha, state.failure)
        }
        context.journal.ended(self)
        let path = directory.path(of: name)
        if let failure, failure.code != .changedWhileRead {
            context.note(path, failure)
            return try context.fill(slot, nil, of: walked, encoder)
        }
        let change =
            failure?.message
            ?? (reader.changed(since: entry.metadata) ? "changed while it was read: what was read may be torn" : nil)
        switch context.states.settle(path, entry.metadata, isTorn: change != nil) {
        case .stored: break
        case .doubtful(let problem): context.note(path, problem, isChange: true)
        case .dropped: return try context.fill(slot, nil, of: walked, encoder)
        }
        if let change { context.note(path, change, isChange: true) }
        var stored = entry
        if wantsDigest {
            Self.updateZeros(&sha, entry.metadata.size - (extents.last?.upperBound ?? 0))
            stored.fileDigest = sha.finish()
        }
        stored.content = try content(&items, encoder)
        try context.fill(slot, stored, of: walked, encoder)
    }

    private func content(_ items: inout [ContentItem], _ encoder: ChunkEncoder) throws -> FileContent {
        guard items.count > FileContent.inlineLimit else { return .inline(items) }
        var references: [FileContent.ListReference] = []
        var start = 0
        while start < items.count {
            let part = Array(items[start..<min(start + FileContent.listLimit, items.count)])
            let id = try encoder.add(ContentList.encode(part), kind: .tree)
            references.append(.init(id: id, bytes: part.reduce(0) { $0 + $1.length }))
            start += part.count
        }
        return .lists(references)
    }

    /// What the journal keeps of the file: the items from its start that are stored, and the hash's last state in them.
    var journalEntry: JournalRecord.File? {
        guard extents.count == 1, extents[0].lowerBound == 0, reader.deviceBytes == nil else { return nil }
        let (items, checkpoints, failed) = state.withLock { state in
            (state.items.settled, state.checkpoints, state.failure != nil || state.isFinished)
        }
        guard !failed, !items.isEmpty else { return nil }
        let stored = items.reduce(0) { $0 + $1.length }
        let checkpoint = checkpoints.last { $0.offset <= stored }
        guard !wantsDigest || checkpoint != nil else { return nil }
        var state = ByteWriter()
        state.write(littleEndian: checkpoint?.offset ?? 0)
        state.write(raw: checkpoint?.state ?? [])
        return JournalRecord.File(
            pathDigest: pathDigest, size: entry.metadata.size, modified: entry.metadata.modified,
            changed: entry.metadata.changed, inode: entry.metadata.inode, items: items, hashState: state.bytes)
    }

    private static let zeros = [UInt8](repeating: 0, count: 1 << 20)

    private static func updateZeros(_ sha: inout SHA256State, _ count: UInt64) {
        var rest = count
        while rest > 0 {
            let part = Int(min(rest, UInt64(zeros.count)))
            zeros.withUnsafeBytes { sha.update(UnsafeRawBufferPointer(rebasing: $0[0..<part])) }
            rest -= UInt64(part)
        }
    }
}
