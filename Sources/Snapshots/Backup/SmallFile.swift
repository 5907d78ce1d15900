internal import Basics
internal import Repository
internal import RepositoryFormat
internal import Sealing

/// A file that is one chunk, or none when it is empty.
struct SmallFile: Sendable {
    /// Files up to this size are read in one go.
    static let limit: UInt64 = 512 << 10
    /// Bytes and files that one job takes.
    static let batchBytes: UInt64 = 1 << 20
    static let batchFiles = 128
    /// Times that a file is read anew because it changed.
    private static let attempts = 3

    let directory: DirectoryHandle
    /// Its name in the directory; the entry's may differ at the snapshot's root.
    let name: [UInt8]
    let entry: TreeEntry
    let slot: DirectoryNode.Slot

    /// How a file was found.
    private enum Reading {
        case whole
        case torn
        case outgrown
    }

    /// Reads, stores and fills the slot. `buffer` is the thread's own, of at least `limit` bytes. False when the file has
    /// outgrown `limit` since it was looked at: nothing has been done then, and it is a `LargeFile` now.
    func store(_ context: BackupContext, _ encoder: ChunkEncoder, _ buffer: Buffer) throws -> Bool {
        var entry = entry
        do {
            let reading = try read(&entry, buffer)
            if case .outgrown = reading { return false }
            let isTorn = reading == .torn
            switch context.states.settle(directory.path(of: name), entry.metadata, isTorn: isTorn) {
            case .stored: break
            case .doubtful(let problem): context.note(directory.path(of: name), problem, isChange: true)
            case .dropped:
                try drop(context, encoder)
                return true
            }
            if isTorn {
                context.note(
                    directory.path(of: name), "changed while it was read: what was read may be torn", isChange: true)
            }
        } catch let error as SnapshotError {
            context.note(directory.path(of: name), error)
            try drop(context, encoder)
            return true
        }
        try store(buffer.bytes, as: entry, context, encoder)
        return true
    }

    private func drop(_ context: BackupContext, _ encoder: ChunkEncoder) throws {
        context.progress.update { $0.bytes += entry.metadata.size }
        try context.fill(slot, nil, of: entry.metadata, encoder)
    }

    /// Stores `bytes`, which were read when the file was as in `found`, and fills the slot.
    func store(
        _ bytes: UnsafeRawBufferPointer, as found: TreeEntry, _ context: BackupContext, _ encoder: ChunkEncoder
    ) throws {
        var entry = found
        var items: [ContentItem] = []
        let digest = SHA256State.digest(of: bytes)
        if !bytes.isEmpty {
            let id = try encoder.add(
                [bytes], contentDigest: digest, kind: .data,
                traits: ChunkTraits(family: ChunkFamily(elementWidth: nil, isFloatingPoint: false), offset: 0))
            items = [.chunk(id, length: UInt32(bytes.count))]
        }
        entry.content = .inline(items)
        // The chunk's SHA-256 is the file's: it costs nothing.
        entry.fileDigest = context.request.fileDigests ? digest : nil
        context.progress.update { $0.bytes += self.entry.metadata.size }
        try context.fill(slot, entry, of: self.entry.metadata, encoder)
    }

    /// Reads the file as it is now into `buffer` and brings `entry` up to date.
    private func read(_ entry: inout TreeEntry, _ buffer: Buffer) throws(SnapshotError) -> Reading {
        let file = try directory.openFile(name: name)
        for _ in 0..<Self.attempts {
            guard entry.metadata.size <= Self.limit else { return .outgrown }
            let size = Int(entry.metadata.size)
            buffer.ensureCapacity(Int(Self.limit))
            buffer.count = try file.read(
                at: 0, into: UnsafeMutableRawBufferPointer(rebasing: buffer.storage[0..<size]))
            if buffer.count == size, !file.changed(since: entry.metadata) { return .whole }
            let fresh = try file.metadata()
            var metadata = entry.metadata
            metadata.size = fresh.size
            metadata.modified = fresh.modified
            metadata.changed = fresh.changed
            metadata.inode = fresh.inode
            metadata.device = fresh.device
            entry.metadata = metadata
        }
        // Another size than the file's, so that the next backup reads it anew.
        entry.metadata.size = UInt64(buffer.count)
        return .torn
    }
}
