internal import Basics
internal import Repository
internal import RepositoryFormat
internal import Sealing
internal import Synchronization

/// Writes one file of a snapshot, the content of a block device as a rule, onto a block device, or into a file that stands
/// for one.
///
/// What is there is read first and only what differs is written: a new volume need not be zeros, one that was restored half
/// has its half, and what is right already costs no write. So a restore that was killed goes on when it is run again. Blocks;
/// runs on a thread of ours.
struct DeviceRestore {
    private let repository: Repository
    private let request: RestoreRequest
    private let progress: OperationProgress
    private let loader: TreeLoader
    private let reader: ChunkReader
    /// Aligned memory for what is written past the page cache.
    private let blocks: BufferPool

    /// Lists of chunks that are worked off at once: 128 Ki chunks, 128 GiB of a device.
    private static let batchLists = 16
    /// Bytes of a hole that one thread compares at once.
    private static let holePart: UInt64 = 64 << 20
    private static let bufferBytes = 1 << 20
    /// What every device's size is a multiple of.
    private static let sectorBytes: UInt64 = 512

    /// A part of the device and what is to be in it.
    private struct Piece: Sendable {
        let offset: UInt64
        /// Nil for zeros.
        let chunk: ChunkID?
        let length: UInt64
        var range: Range<UInt64> { offset..<offset + length }
    }

    /// What came of writing.
    private struct Outcome {
        var bytesWritten: UInt64 = 0
        /// Where chunks begin that cannot be had.
        var lost: [UInt64: Range<UInt64>] = [:]
        var damage: RepositoryError?
    }

    init(repository: Repository, request: RestoreRequest, progress: OperationProgress, index: RepositoryIndex) {
        self.repository = repository
        self.request = request
        self.progress = progress
        loader = TreeLoader(repository: repository, index: index)
        reader = ChunkReader(repository: repository, index: index)
        blocks = BufferPool(bufferCapacity: Self.bufferBytes, limit: max(1, repository.plan.ranges))
    }

    // MARK: What is meant

    /// The file of `tree` that `request` means to be written onto its target; nil where that is no device, nor a file for
    /// the content of one. Blocks.
    ///
    /// Throws `SnapshotError` `.invalidArgument` for a device and a request that means no single file, and what reading the
    /// tree throws.
    static func file(of tree: SnapshotTree, for request: RestoreRequest) throws -> TreeEntry? {
        let type = FileWriter.type(at: request.target)
        guard type == .blockDevice || type == .regular else { return nil }
        let target = PathText.display(request.target)
        let found = try request.from.isEmpty ? onlyDevice(in: tree) : tree.entry(at: request.from)
        guard type == .blockDevice else {
            // A directory was meant to be there, as every other restore needs one.
            return found?.metadata.isDeviceContent ?? false ? found : nil
        }
        guard request.includes.isEmpty, request.checkpoint == nil else {
            throw SnapshotError(
                .invalidArgument,
                "\(target) is a block device, which takes one file of a snapshot: name that with --from, and neither --include nor --checkpoint",
                path: request.target)
        }
        guard let found, found.metadata.type == .regular, found.metadata.size % sectorBytes == 0 else {
            let what = found.map { "\(StatePath.text(request.from)) is \($0.metadata.type.text)" }
            throw SnapshotError(
                .invalidArgument,
                "\(target) is a block device, onto which the content of one goes: "
                    + (what ?? "the snapshot has not exactly one at its root, so name it with --from"),
                path: request.target)
        }
        return found
    }

    /// The content of a device at the root of the snapshot, if there is one and no other.
    private static func onlyDevice(in tree: SnapshotTree) throws -> TreeEntry? {
        var found: [TreeEntry] = []
        for page in tree.pages { found += try tree.loader.page(page).filter(\.metadata.isDeviceContent) }
        return found.count == 1 ? found[0] : nil
    }

    // MARK: Restoring

    /// Writes `entry` onto the request's target. Damage in the repository is in the result; everything else is written.
    ///
    /// Throws `RepositoryError` and `SnapshotError`: `.noSpace` for a target that is smaller, before anything is written;
    /// `.targetNotEmpty` when nobody has allowed it to be overwritten; `.refusedPath` for a device that is in use.
    func run(_ entry: TreeEntry, digest: String?) throws -> RestoreResult {
        let path = request.from.isEmpty ? [entry.name] : request.from
        let text = StatePath.text(path)
        try checkAllowed()
        let writer = try FileWriter.device(at: request.target, isExclusive: !request.writesInUse)
        let remark = try fit(entry, writer)
        progress.update {
            ($0.filesTotal, $0.bytesTotal) = (1, entry.metadata.size)
            $0.current = PathText.display(request.target)
        }
        let lists = try lists(of: entry)
        writer.bypassPageCache()
        var outcome = Outcome()
        try forEachBatch(of: lists) { try write($0, to: writer, &outcome) }
        try writer.synchronize()
        var result = RestoreResult(snapshot: request.snapshot)
        result.bytesWritten = outcome.bytesWritten
        if let remark { result.remarks.append(.init(path: text, message: remark)) }
        if let damage = outcome.damage {
            result.damaged.append(.init(path: text, message: damage.message, lost: Self.joined(outcome.lost.values)))
        }
        if request.verify { try verify(lists, writer, outcome, text, &result) }
        try writer.close()
        guard result.damaged.isEmpty, result.failed.isEmpty else { return result }
        result.files = 1
        result.contentDigest = digest
        progress.update { $0.files = 1 }
        return result
    }

    /// A device holds something always, so that somebody must say that it may go.
    private func checkAllowed() throws(SnapshotError) {
        let target = PathText.display(request.target)
        switch request.overwrite {
        case .always, .ifChanged: return
        case .never:
            throw SnapshotError(
                .invalidArgument, "nothing can be written onto \(target) with --overwrite never", path: request.target)
        case nil:
            guard request.resume else {
                throw SnapshotError(
                    .targetNotEmpty,
                    "all that is on \(target) would be overwritten: choose --overwrite if-changed or always, or go on with --resume",
                    path: request.target)
            }
        }
    }

    /// Throws for a target that is smaller than what goes onto it; answers what to say of one that is larger.
    private func fit(_ entry: TreeEntry, _ writer: FileWriter) throws(SnapshotError) -> String? {
        let (room, size) = (try writer.size(), entry.metadata.size)
        let target = PathText.display(request.target)
        guard room >= size else {
            throw SnapshotError(
                .noSpace,
                "\(target) has \(room) bytes and the device in the snapshot had \(size): nothing was written; restore onto one that is as large",
                path: request.target)
        }
        guard room > size else { return nil }
        return
            "\(target) is \(room - size) bytes larger than what was restored: those behind byte \(size) are as they were"
    }

    /// Content in parts of which each fits in memory.
    private func lists(of entry: TreeEntry) throws(RepositoryError) -> [(content: FileContent, bytes: UInt64)] {
        let lists: [(content: FileContent, bytes: UInt64)] =
            switch entry.content {
            case .lists(let references): references.map { (.lists([$0]), $0.bytes) }
            case .inline(let items): [(.inline(items), Self.length(of: items) ?? .max)]
            case nil: []
            }
        var sum: UInt64 = 0
        for list in lists { sum = sum.addingReportingOverflow(list.bytes).overflow ? .max : sum + list.bytes }
        guard sum == entry.metadata.size else {
            throw RepositoryError(
                .damaged, "its pieces have \(sum) bytes together, and the device \(entry.metadata.size)")
        }
        return lists
    }

    /// Bytes that `items` stand for; nil for more than any file has.
    private static func length(of items: [ContentItem]) -> UInt64? {
        var length: UInt64 = 0
        for item in items {
            let (sum, overflow) = length.addingReportingOverflow(item.length)
            guard !overflow else { return nil }
            length = sum
        }
        return length
    }

    /// Calls `body` with the pieces of the device in order, so many at once as fit in memory.
    private func forEachBatch(
        of lists: [(content: FileContent, bytes: UInt64)], _ body: ([Piece]) throws -> Void
    ) throws {
        var offset: UInt64 = 0
        var pieces: [Piece] = []
        for (number, list) in lists.enumerated() {
            try check()
            let items = try loader.items(of: list.content)
            guard Self.length(of: items) == list.bytes else {
                throw RepositoryError(.damaged, "a list of its pieces has not the \(list.bytes) bytes that it should")
            }
            for item in items {
                switch item {
                case .chunk(let id, let length):
                    pieces.append(Piece(offset: offset, chunk: id, length: UInt64(length)))
                    offset += UInt64(length)
                case .hole(let length):
                    let end = offset + length
                    while offset < end {
                        let part = min(end - offset, Self.holePart)
                        pieces.append(Piece(offset: offset, chunk: nil, length: part))
                        offset += part
                    }
                }
            }
            guard (number + 1) % Self.batchLists == 0 || number == lists.count - 1 else { continue }
            try body(pieces)
            pieces = []
        }
    }

    private func check() throws(RepositoryError) {
        if progress.isCancelled {
            throw RepositoryError(
                .cancelled, "the restore was interrupted: run it again with --resume, it goes on from here")
        }
    }

    // MARK: Comparing

    /// The pieces that are not on the device, in order. `skips` is told of each that is. Several threads read.
    private func differing(
        _ pieces: [Piece], _ writer: FileWriter, skips: @escaping @Sendable (Piece) -> Void
    ) throws -> [Piece] {
        let next = Atomic<Int>(0)
        let found = Mutex<[Piece]>([])
        let fatal = Mutex<(any Error)?>(nil)
        let threads = max(1, min(pieces.count, repository.options.processors))
        WorkerThreads(count: threads, name: "becalm-compare") { _ in
            let buffer = Buffer(capacity: Self.bufferBytes)
            while fatal.withLock({ $0 == nil }) {
                let position = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard position < pieces.count else { return }
                let piece = pieces[position]
                do {
                    if try isThere(piece, writer, buffer) { skips(piece) } else { found.withLock { $0.append(piece) } }
                } catch {
                    fatal.withLock { $0 = $0 ?? error }
                }
            }
        }.join()
        if let error = fatal.withLock({ $0 }) { throw error }
        return found.withLock { $0 }.sorted { $0.offset < $1.offset }
    }

    private func isThere(_ piece: Piece, _ writer: FileWriter, _ buffer: Buffer) throws -> Bool {
        var sha = SHA256State()
        var offset = piece.offset
        while offset < piece.range.upperBound {
            try check()
            let wanted = Int(min(piece.range.upperBound - offset, UInt64(buffer.capacity)))
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer.storage[0..<wanted])
            let count = try writer.read(at: offset, into: part)
            guard count == wanted else { return false }
            if piece.chunk == nil {
                guard UnsafeRawBufferPointer(part).isZero else { return false }
            } else {
                sha.update(UnsafeRawBufferPointer(part))
            }
            offset += UInt64(count)
        }
        guard let chunk = piece.chunk else { return true }
        return repository.chunkIdentifier.id(of: sha.finish(), kind: .data) == chunk
    }

    // MARK: Writing

    private func write(_ pieces: [Piece], to writer: FileWriter, _ outcome: inout Outcome) throws {
        let progress = progress
        let wanted =
            request.overwrite == .always
            ? pieces
            : try differing(pieces, writer) { piece in progress.update { $0.bytes += piece.length } }
        var places: [ChunkID: [Piece]] = [:]
        for piece in wanted {
            if let chunk = piece.chunk {
                places[chunk, default: []].append(piece)
            } else {
                try check()
                try Self.locating(piece) { () throws(SnapshotError) in _ = try writer.punchHole(piece.range) }
                outcome.bytesWritten += piece.length
                progress.update { $0.bytes += piece.length }
            }
        }
        guard !places.isEmpty else { return }
        let written = Atomic<UInt64>(0)
        let (blocks, known) = (blocks, places)
        let failures = try reader.read(
            Array(places.keys), kind: .data, place: { known[$0]?.first?.offset ?? 0 }
        ) { id, bytes in
            if progress.isCancelled { throw RepositoryError(.cancelled, "the restore was interrupted") }
            for piece in known[id] ?? [] {
                guard UInt64(bytes.count) == piece.length else {
                    throw RepositoryError(
                        .damaged, "chunk \(id) has \(bytes.count) bytes, and its place \(piece.length)")
                }
                try Self.locating(piece) { () throws(SnapshotError) in
                    try writer.write(at: piece.offset, from: bytes, through: blocks)
                }
                written.wrappingAdd(piece.length, ordering: .relaxed)
                progress.update { $0.bytes += piece.length }
            }
        }
        outcome.bytesWritten += written.load(ordering: .relaxed)
        try check()
        for failure in failures {
            outcome.damage = outcome.damage ?? failure.error
            for piece in places[failure.id] ?? [] { outcome.lost[piece.offset] = piece.range }
        }
    }

    /// Runs `body`, whose error says where on the device it happened.
    private static func locating(_ piece: Piece, _ body: () throws(SnapshotError) -> Void) throws(SnapshotError) {
        do throws(SnapshotError) {
            try body()
        } catch {
            throw SnapshotError(
                error.code, "\(error.message) (within the \(piece.length) bytes from byte \(piece.offset) on)",
                path: error.path, cause: error.cause)
        }
    }

    /// Neighbours joined, in order.
    private static func joined(_ ranges: some Collection<Range<UInt64>>) -> [Range<UInt64>] {
        var joined: [Range<UInt64>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = joined.last, last.upperBound == range.lowerBound {
                joined[joined.count - 1] = last.lowerBound..<range.upperBound
            } else {
                joined.append(range)
            }
        }
        return Array(joined.prefix(RestoreResult.Note.mostLost))
    }

    /// Reads everything back from the device; what differs becomes a failure, but for what could not be had.
    private func verify(
        _ lists: [(content: FileContent, bytes: UInt64)], _ writer: FileWriter, _ outcome: Outcome, _ text: String,
        _ result: inout RestoreResult
    ) throws {
        let clock = ContinuousClock()
        let began = clock.now
        writer.dropCache()
        var differs: [Range<UInt64>] = []
        try forEachBatch(of: lists) { pieces in
            differs += try differing(pieces.filter { outcome.lost[$0.offset] == nil }, writer, skips: { _ in })
                .map(\.range)
        }
        result.verified = 1
        if let first = differs.first {
            result.failed.append(
                .init(
                    path: text,
                    message:
                        "differs from the snapshot when it is read back, first within the \(first.count) bytes from byte \(first.lowerBound) on: the device may be failing, or somebody writes to it",
                    lost: Self.joined(differs)))
        }
        result.verifySeconds = (clock.now - began) / .seconds(1)
    }
}
