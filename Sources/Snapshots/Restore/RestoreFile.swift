internal import Basics
internal import Repository
internal import RepositoryFormat
internal import Sealing
internal import Synchronization

/// A regular file that is being restored, by any number of threads at once.
///
/// Its bytes go to a temporary name in the same directory, which it leaves when it is complete, or if it is held when it
/// is published; a file that is brought up to date in place keeps its name. The temporary name follows from snapshot and
/// path: a later run finds it.
final class RestoreFile: Sendable {
    private struct State {
        var writer: FileWriter?
        var remaining: Int
        var failure: (any Error)?
        var damage: RepositoryError?
        /// Where the chunks begin that cannot be had.
        var lost: Set<UInt64> = []
        var bytesWritten: UInt64 = 0
        /// Of a held file that is complete: what could not be set.
        var held: [RestoreRemark]?
    }

    /// Where a chunk goes.
    struct Place: Sendable {
        let file: RestoreFile
        let offset: UInt64
    }

    let path: [[UInt8]]
    let entry: TreeEntry
    let items: [ContentItem]
    /// Whether the file that is there is brought up to date in place.
    private let inPlace: Bool
    /// Whether it waits for `publish` under its temporary name.
    private let isHeld: Bool
    private let temporaryName: [UInt8]
    private let context: RestoreContext
    private let state: Mutex<State>
    /// Through the page cache the kernel lets one thread write to a file at a time and has the others spin; here they
    /// sleep.
    private let turn = Mutex<Void>(())
    /// From this size on a file is written past the page cache.
    private static let directBytes: UInt64 = 32 << 20
    /// Behind the name of what could be saved of a damaged file.
    static let damagedSuffix = Array(".becalm-damaged".utf8)

    init(
        path: [[UInt8]], entry: TreeEntry, items: [ContentItem], inPlace: Bool, isHeld: Bool, context: RestoreContext
    ) {
        self.path = path
        self.entry = entry
        self.items = items
        self.inPlace = inPlace
        self.isHeld = isHeld
        self.context = context
        temporaryName = context.temporaryName(for: path)
        let chunks = items.count { if case .chunk = $0 { true } else { false } }
        // One more for whoever prepares it.
        state = Mutex(State(remaining: chunks + 1))
    }

    private var name: [UInt8] { entry.name }
    private var isDirect: Bool { entry.metadata.size >= Self.directBytes }
    private var workingName: [UInt8] { inPlace ? name : temporaryName }
    private func directory() throws(SnapshotError) -> DirectoryHandle {
        try context.target.directory(Array(path.dropLast()), create: true)
    }

    /// The open file, made or opened when it is first needed.
    private func writer() throws -> FileWriter {
        try state.withLock { state in
            if let writer = state.writer { return writer }
            let directory = try directory()
            let writer: FileWriter
            if try directory.type(of: workingName) == .regular {
                writer = try FileWriter.openExisting(in: directory, name: workingName)
                try writer.setSize(entry.metadata.size)
            } else {
                writer = try FileWriter.create(in: directory, name: workingName)
                do {
                    try writer.setSize(entry.metadata.size)
                    try reserve(writer)
                } catch {
                    // Nothing is in it yet, and the space is what others lack.
                    try directory.remove(name: workingName)
                    throw error
                }
            }
            state.writer = writer
            return writer
        }
    }

    /// Takes the space of a large file from the disk, all of it but the holes: a full disk shows before anything is
    /// fetched, and what many threads write out of order lies in one piece.
    private func reserve(_ writer: FileWriter) throws(SnapshotError) {
        guard isDirect else { return }
        writer.bypassPageCache()
        var data: Range<UInt64> = 0..<0
        for item in items {
            guard case .hole(let length) = item else {
                data = data.lowerBound..<data.upperBound + item.length
                continue
            }
            guard try writer.preallocate(data) else { return }
            data = data.upperBound + length..<data.upperBound + length
        }
        try writer.preallocate(data)
    }

    /// Chunks that must be fetched, with their offsets: of a file that is there, those that differ. Holes are punched.
    func prepare(_ buffer: Buffer) throws -> [(ChunkID, UInt64)] {
        let isThere = try directory().type(of: workingName) == .regular
        guard isThere else { return chunks }
        let writer = try writer()
        var wanted: [(ChunkID, UInt64)] = []
        var offset: UInt64 = 0
        for item in items {
            defer { offset += item.length }
            switch item {
            case .hole(let length):
                if try !writer.punchHole(offset..<offset + length) { try fillZeros(writer, offset, length) }
            case .chunk(let id, let length):
                buffer.ensureCapacity(Int(length))
                let part = UnsafeMutableRawBufferPointer(rebasing: buffer.storage[0..<Int(length)])
                let count = try writer.read(at: offset, into: part)
                let digest = SHA256State.digest(of: UnsafeRawBufferPointer(rebasing: part[0..<count]))
                if count == Int(length), context.repository.chunkIdentifier.id(of: digest, kind: .data) == id {
                    state.withLock { $0.remaining -= 1 }
                } else {
                    wanted.append((id, offset))
                }
            }
        }
        return wanted
    }

    private var chunks: [(ChunkID, UInt64)] {
        var offset: UInt64 = 0
        var chunks: [(ChunkID, UInt64)] = []
        for item in items {
            if case .chunk(let id, _) = item { chunks.append((id, offset)) }
            offset += item.length
        }
        return chunks
    }

    private func fillZeros(_ writer: FileWriter, _ offset: UInt64, _ length: UInt64) throws {
        let zeros = [UInt8](repeating: 0, count: Int(min(length, 1 << 20)))
        var done: UInt64 = 0
        while done < length {
            let part = Int(min(length - done, UInt64(zeros.count)))
            try zeros.withUnsafeBytes {
                try writer.write(at: offset + done, from: UnsafeRawBufferPointer(rebasing: $0[0..<part]))
            }
            done += UInt64(part)
        }
    }

    /// Writes a chunk in its place. A failure is the file's, not the restore's, unless the disk is full.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
        do {
            if state.withLock({ $0.failure }) == nil {
                let writer = try writer()
                if isDirect {
                    try writer.write(at: offset, from: bytes, through: context.blocks)
                } else {
                    try turn.withLock { _ in try writer.write(at: offset, from: bytes) }
                }
                state.withLock { $0.bytesWritten += UInt64(bytes.count) }
            }
        } catch let error as SnapshotError where error.code == .noSpace {
            throw error
        } catch {
            state.withLock { $0.failure = $0.failure ?? error }
        }
        context.progress.update { $0.bytes += UInt64(bytes.count) }
        try release()
    }

    /// Notes that the chunk at `offset` cannot be had.
    func lose(_ error: RepositoryError, at offset: UInt64) throws {
        state.withLock { state in
            state.damage = state.damage ?? error
            state.lost.insert(offset)
        }
        try release()
    }

    /// The bytes of the chunks that begin at `lost`, neighbours joined.
    private func ranges(of lost: Set<UInt64>) -> [Range<UInt64>] {
        var ranges: [Range<UInt64>] = []
        var offset: UInt64 = 0
        for item in items {
            defer { offset += item.length }
            guard case .chunk = item, lost.contains(offset) else { continue }
            if let last = ranges.last, last.upperBound == offset {
                ranges[ranges.count - 1] = last.lowerBound..<offset + item.length
            } else {
                ranges.append(offset..<offset + item.length)
            }
        }
        return ranges
    }

    /// Notes that the file cannot be restored.
    func fail(_ error: any Error) { state.withLock { $0.failure = $0.failure ?? error } }

    /// Takes one reason to wait away; the last one completes the file.
    func release() throws {
        let isLast = state.withLock { state in
            state.remaining -= 1
            return state.remaining == 0
        }
        if isLast { complete() }
    }

    private func complete() {
        let (failure, damage, lost, bytes) = state.withLock { ($0.failure, $0.damage, $0.lost, $0.bytesWritten) }
        context.wrote(bytes)
        if let failure { return context.failed(path, failure) }
        do {
            let writer = try writer()
            if let damage {
                // What could be saved is kept under a name that no program takes for the real one.
                try writer.close()
                let kept = name + Self.damagedSuffix
                let directory = try directory()
                if kept.count <= 255 { try directory.rename(workingName, to: kept) }
                return context.damaged(path, damage, lost: ranges(of: lost))
            }
            let remarks = context.metadata.apply(entry.metadata, to: writer)
            try writer.close()
            state.withLock { state in
                state.writer = nil
                if isHeld { state.held = remarks }
            }
            if isHeld { return }
            if !inPlace { try directory().rename(temporaryName, to: name) }
            context.restored(path, remarks)
        } catch {
            context.failed(path, error)
        }
    }

    /// Gives a held file its name if it is complete. Answers whether it has it now; why not, the result says.
    func publish() -> Bool {
        guard let remarks = state.withLock({ $0.held }) else { return false }
        do {
            try directory().rename(temporaryName, to: name)
            context.restored(path, remarks)
            return true
        } catch {
            context.failed(path, error)
            return false
        }
    }

    /// Removes a held file, which is not to have its name.
    func discard() throws(SnapshotError) {
        guard state.withLock({ $0.held }) != nil else { return }
        try directory().remove(name: temporaryName)
    }
}
