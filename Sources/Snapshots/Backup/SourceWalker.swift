internal import Basics
internal import Repository
internal import RepositoryFormat

/// Walks the sources, compares with the parent snapshot, and hands out what must be read.
///
/// Runs on one thread. Names come in byte order on both sides, so the parent's entries are met in step.
final class SourceWalker {
    private let context: BackupContext
    private let scheduler: BackupScheduler
    private let encoder: ChunkEncoder
    private let loader: TreeLoader
    private let excludes: [GlobPattern]
    private let bases: BaseFinder?
    /// Over the source at hand, when it is a directory.
    private var watch: StateWatch?
    private var batch: [SmallFile] = []
    private var batchBytes: UInt64 = 0

    init(
        context: BackupContext, scheduler: BackupScheduler, encoder: ChunkEncoder, loader: TreeLoader,
        bases: BaseFinder?
    ) {
        self.bases = bases
        self.context = context
        self.scheduler = scheduler
        self.encoder = encoder
        self.loader = loader
        excludes = context.request.excludes.map { GlobPattern($0) }
    }

    /// Walks every source into `root`, whose parent snapshot has these pages. Answers how many sources were there.
    func walk(into root: DirectoryNode, parentPages: [ChunkID]) throws -> Int {
        var found = 0
        var sources = context.request.paths.map { (name: Self.rootName($0), path: $0) }
        sources.sort { $0.name.lexicographicallyPrecedes($1.name) }
        var cursor = ParentCursor(loader: loader, session: context.session, pages: parentPages)
        for (name, path) in sources {
            let slot = root.announce()
            let parentEntry = cursor.entry(named: name)
            do {
                let (directory, entryName) = try Self.openParent(of: path)
                watch = try StateWatch.over(path, as: name, context)
                if try visit(directory, entryName, as: name, [name], slot, parentEntry, device: nil) { found += 1 }
            } catch let error as SnapshotError {
                context.note(path, error.message)
                try root.fill(slot, nil, encoder)
            }
        }
        try flush()
        try root.close(encoder)
        scheduler.endWalk()
        return found
    }

    /// The name under which a source stands at the snapshot's root: its last component, or `root` for `/`.
    static func rootName(_ path: [UInt8]) -> [UInt8] {
        path.split(separator: 0x2f).last.map(Array.init) ?? Array("root".utf8)
    }

    /// The directory that holds the source at `path`, and its name there; for `/` that directory itself.
    static func openParent(of path: [UInt8]) throws(SnapshotError) -> (DirectoryHandle, [UInt8]?) {
        guard let slash = path.lastIndex(of: 0x2f), slash < path.count - 1 else {
            return (try DirectoryHandle.open(path: path), nil)
        }
        let parent = slash == 0 ? [0x2f] : Array(path[..<slash])
        return (try DirectoryHandle.open(path: parent), Array(path[(slash + 1)...]))
    }

    /// Deals with one entry: fills its slot or hands it on. Whether it is in the snapshot as far as is known.
    private func visit(
        _ directory: DirectoryHandle, _ name: [UInt8]?, as storedName: [UInt8], _ path: [[UInt8]],
        _ slot: DirectoryNode.Slot, _ parentEntry: TreeEntry?, device: UInt64?, metadata known: FileMetadata? = nil,
        early: EarlyReading? = nil
    ) throws -> Bool {
        try context.check()
        let metadata: FileMetadata
        if let known = early?.metadata ?? known {
            metadata = known
        } else if let name {
            metadata = try directory.metadata(of: name, owners: context.owners, includingExtendedAttributes: true)
        } else {
            metadata = try directory.ownMetadata(owners: context.owners, includingExtendedAttributes: true)
        }
        let entry = TreeEntry(name: storedName, metadata: metadata)
        if let device, device != metadata.device, context.request.oneFileSystem {
            watch?.excludes(path)
            try slot.node.fill(slot, nil, encoder)
            return false
        }
        switch metadata.type {
        case .directory:
            let child = try name.map { try directory.openDirectory(name: $0) } ?? directory
            try descend(child, entry, path, slot, parentEntry)
        case .regular:
            watch?.saw(path, metadata)
            guard isOurs(path) else { return try leaveToOthers(slot) }
            context.progress.update {
                $0.filesTotal += 1
                $0.bytesTotal += metadata.size
                $0.current = PathText.display(directory.path(of: name ?? storedName))
            }
            try store(directory, name ?? storedName, entry, path, slot, parentEntry, early)
        case .socket, .fifo, .symbolicLink, .characterDevice, .blockDevice:
            if metadata.type == .symbolicLink { watch?.sawLink(path) }
            guard isOurs(path) else { return try leaveToOthers(slot) }
            if path.count == 1, let name, FileReader.isDevice(at: directory.path(of: name)) {
                try store(deviceAt: directory, name, as: storedName, slot)
                return true
            }
            context.progress.update { $0.filesTotal += 1 }
            try context.fill(slot, entry, of: metadata, encoder)
        }
        return true
    }

    /// Whether the file at `path` falls to this snapshot.
    private func isOurs(_ path: [[UInt8]]) -> Bool { context.request.shard?.holds(path) ?? true }

    /// Leaves a file to another shard: it is there, and is judged, but not stored here.
    private func leaveToOthers(_ slot: DirectoryNode.Slot) throws -> Bool {
        try slot.node.fill(slot, nil, encoder)
        return true
    }

    private func descend(
        _ directory: DirectoryHandle, _ entry: TreeEntry, _ path: [[UInt8]], _ slot: DirectoryNode.Slot,
        _ parentEntry: TreeEntry?
    ) throws {
        guard path.count < TreeWalker.maximumDepth else {
            throw SnapshotError(.refusedPath, "is over \(TreeWalker.maximumDepth) directories deep")
        }
        var listing = try DirectoryListing(of: directory, owners: context.owners, isJudged: watch != nil)
        let early = watch?.readEarly(path, in: directory, listing, owners: context.owners) ?? [:]
        if !early.isEmpty {
            listing = try DirectoryListing(of: directory, owners: context.owners, isJudged: watch != nil)
        }
        try watch?.enter(path, listing)
        do {
            if watch?.leavesOut(path) == true {
                try slot.node.fill(slot, nil, encoder)
            } else {
                try descend(directory, listing, early, entry, path, slot, parentEntry)
            }
        } catch let error as SnapshotError {
            try watch?.leave()
            throw error
        }
        try watch?.leave()
    }

    private func descend(
        _ directory: DirectoryHandle, _ listing: DirectoryListing, _ early: [[UInt8]: EarlyReading],
        _ entry: TreeEntry, _ path: [[UInt8]], _ slot: DirectoryNode.Slot, _ parentEntry: TreeEntry?
    ) throws {
        let node = DirectoryNode(entry: entry, parent: slot, isKept: isKept(path))
        let isDirectory = parentEntry?.metadata.type == .directory
        var cursor = ParentCursor(
            loader: loader, session: context.session, pages: isDirectory ? parentEntry?.pages ?? [] : [])
        for (index, name) in listing.names.enumerated() {
            let childPath = path + [name]
            if excludes.contains(where: { $0.matches(childPath) }) {
                watch?.excludes(childPath)
                continue
            }
            if watch?.leavesOut(childPath) == true { continue }
            let child = node.announce()
            do {
                let known = cursor.entry(named: name)
                _ = try visit(
                    directory, name, as: name, childPath, child, known, device: entry.metadata.device,
                    metadata: listing.metadata(at: index), early: early[name])
            } catch let error as SnapshotError {
                context.note(directory.path(of: name), error)
                try node.fill(child, nil, encoder)
            }
        }
        try node.close(encoder)
    }

    /// What is asked when all of the directory entered last is stored: whether it is the complete checkpoint that it was.
    private func isKept(_ path: [[UInt8]]) -> @Sendable () -> Bool {
        guard let stateGuard = watch?.guardOfDirectory else { return { true } }
        guard path.count == 1 else { return { stateGuard.holds() } }
        // What was named is stored, whatever has become of it.
        let context = context
        return {
            if let change = stateGuard.change() {
                context.note(stateGuard.place, change, isChange: true)
                context.states.doubt(stateGuard.state, change)
            }
            return true
        }
    }

    private func store(
        _ directory: DirectoryHandle, _ name: [UInt8], _ entry: TreeEntry, _ path: [[UInt8]],
        _ slot: DirectoryNode.Slot, _ parentEntry: TreeEntry?, _ early: EarlyReading?
    ) throws {
        guard try context.claimLink(slot, entry, at: directory.path(of: name), encoder) else { return }
        if let known = parentEntry, try isUnchanged(entry, known) {
            var same = entry
            same.content = known.content
            if path.count == 1, context.request.readsAsDevices {
                same.metadata.deviceNumber = FileMetadata.imageDeviceNumber
            }
            same.fileDigest = context.request.fileDigests ? known.fileDigest : nil
            context.progress.update { $0.bytes += entry.metadata.size }
            return try context.fill(slot, same, of: entry.metadata, encoder)
        }
        if let early {
            let file = SmallFile(directory: directory, name: name, entry: entry, slot: slot)
            return try early.bytes.withUnsafeBytes { try file.store($0, as: entry, context, encoder) }
        }
        do throws(SnapshotError) {
            let isImage = path.count == 1 && context.request.readsAsDevices
            if entry.metadata.size <= SmallFile.limit, !isImage {
                try add(SmallFile(directory: directory, name: name, entry: entry, slot: slot))
            } else {
                let file = try LargeFile(
                    directory: directory, name: name, entry: entry, slot: slot, context: context, scheduler: scheduler,
                    isImage: isImage,
                    bases: { bases?.bases(for: path) ?? FileBases() })
                let isTaken = try file.begin(encoder) { scheduler.add(large: file) }
                guard isTaken else { throw SnapshotError(.cancelled, "the backup has ended") }
            }
        } catch {
            try context.leaveOut(directory.path(of: name), error, slot, entry.metadata, encoder)
        }
    }

    /// Stores the bytes of a block device that was named as a source, by itself or by a symbolic link to it; devices in
    /// directories are stored as what they are, names.
    private func store(
        deviceAt directory: DirectoryHandle, _ name: [UInt8], as storedName: [UInt8], _ slot: DirectoryNode.Slot
    ) throws {
        let path = directory.path(of: name)
        var metadata = FileMetadata(type: .regular, permissions: 0)
        do throws(SnapshotError) {
            if FileReader.isInUse(deviceAt: path) {
                context.note(
                    path,
                    "is mounted, or something else holds it: what is written while it is read may be torn; back up a snapshot of it, or unmount it first",
                    isChange: true)
            }
            let device = try FileReader.device(at: path)
            metadata = try device.metadata()
            metadata.userName = context.owners.userName(metadata.userID)
            metadata.groupName = context.owners.groupName(metadata.groupID)
            let size = metadata.size
            context.progress.update {
                $0.filesTotal += 1
                $0.bytesTotal += size
                $0.current = PathText.display(path)
            }
            let file = try LargeFile(
                directory: directory, name: name, entry: TreeEntry(name: storedName, metadata: metadata), slot: slot,
                context: context, scheduler: scheduler, device: device)
            let isTaken = try file.begin(encoder) { scheduler.add(large: file) }
            guard isTaken else { throw SnapshotError(.cancelled, "the backup has ended") }
        } catch {
            try context.leaveOut(path, error, slot, metadata, encoder)
        }
    }

    /// Whether the parent's entry is of the same, untouched file, and all its chunks are still there to rely on.
    private func isUnchanged(_ entry: TreeEntry, _ known: TreeEntry) throws -> Bool {
        let (now, before) = (entry.metadata, known.metadata)
        guard before.type == .regular, now.size == before.size, now.modified == before.modified,
            now.changed == before.changed, now.inode == before.inode, let content = known.content,
            known.fileDigest != nil || !context.request.fileDigests
        else { return false }
        let session = context.session
        if case .lists(let references) = content {
            guard references.allSatisfy({ session.relyOn($0.id, kind: .tree) }) else { return false }
        }
        do {
            return try loader.items(of: content).allSatisfy { item in
                guard case .chunk(let id, _) = item else { return true }
                return session.relyOn(id, kind: .data)
            }
        } catch {
            // The parent's list is damaged or gone: the file is read anew.
            return false
        }
    }

    private func add(_ file: SmallFile) throws(SnapshotError) {
        batch.append(file)
        batchBytes += file.entry.metadata.size
        if batchBytes >= SmallFile.batchBytes || batch.count >= SmallFile.batchFiles { try flush() }
    }

    private func flush() throws(SnapshotError) {
        guard !batch.isEmpty else { return }
        guard scheduler.add(small: batch) else { throw SnapshotError(.cancelled, "the backup has ended") }
        batch = []
        batchBytes = 0
    }
}

/// Goes along a parent directory's entries in step with the walk; holds one page in memory.
private struct ParentCursor {
    let loader: TreeLoader
    let session: WriteSession
    var pages: ArraySlice<ChunkID>
    var entries: ArraySlice<TreeEntry> = []

    init(loader: TreeLoader, session: WriteSession, pages: [ChunkID]) {
        self.loader = loader
        self.session = session
        self.pages = pages[...]
    }

    /// The entry called `name`. Names must be asked for in byte order. A damaged page ends what is known.
    mutating func entry(named name: [UInt8]) -> TreeEntry? {
        while true {
            while let first = entries.first, first.name.lexicographicallyPrecedes(name) { entries.removeFirst() }
            if let first = entries.first { return first.name == name ? first : nil }
            guard let page = pages.popFirst() else { return nil }
            do {
                entries = try loader.page(page)[...]
            } catch {
                // What cannot be read is no parent, and nothing new may rely on the pack that holds it.
                if error.code == .damaged,
                    let pack = session.index.findForReading(page, kind: .tree)?.pack
                {
                    session.index.markMissing([pack])
                }
                pages = []
                return nil
            }
        }
    }
}
