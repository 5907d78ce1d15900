internal import Basics
internal import Repository
internal import RepositoryFormat
internal import Synchronization

/// Walks the snapshot's tree and restores it in batches: files are fetched pack by pack, directories get their metadata
/// when everything in them is there.
///
/// Blocks; runs on a thread of ours.
final class RestorePass {
    /// Chunks and files in a batch: some 20 MB of plan, and ranges long enough.
    private static let batchChunks = 128 << 10
    private static let batchFiles = 4096
    /// Files in a batch that fit the limit of open files: each may be open twice from its first chunk to its last.
    private static let openBatchFiles = max(16, min(batchFiles, (SystemLimits.openFiles - 256) / 2))

    private let context: RestoreContext
    private let loader: TreeLoader
    private let reader: ChunkReader
    private let includes: [GlobPattern]
    /// Positions of the patterns that nothing has fitted so far.
    private var unmatched: Set<Int>
    private var batch: [RestoreFile] = []
    private var batchChunkCount = 0
    private var directories: [(path: [[UInt8]], metadata: FileMetadata)] = []
    private var links: [(path: [[UInt8]], first: [[UInt8]], entry: TreeEntry)] = []
    private var firstNames: [Link: [[UInt8]]] = [:]

    private struct Link: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    init(context: RestoreContext, index: RepositoryIndex) {
        self.context = context
        loader = TreeLoader(repository: context.repository, index: index)
        reader = ChunkReader(repository: context.repository, index: index)
        includes = context.request.includes.map { GlobPattern($0) }
        unmatched = Set(includes.indices)
    }

    /// Restores everything below these pages.
    func run(pages: [ChunkID]) throws {
        var walker = TreeWalker(loader: loader)
        try walker.walk(pages: pages) { path, entry in
            try context.check()
            return try visit(path, entry)
        }
        try restoreBatch()
        context.matchedAllBut(unmatched.sorted().map { context.request.includes[$0] })
        for damage in walker.damage { context.damaged(damage.path, damage.error) }
        for link in links { makeLink(link.path, link.first, link.entry) }
        for directory in directories.reversed() {
            do {
                let handle = try context.target.directory(directory.path, create: true)
                context.remark(directory.path, context.metadata.apply(directory.metadata, to: handle))
            } catch {
                context.failed(directory.path, error)
            }
        }
        try context.target.root.synchronizeFileSystem()
    }

    /// Whether the entry is wanted; takes note of the patterns that it fits.
    private func isIncluded(_ path: [[UInt8]]) -> Bool {
        var isIncluded = includes.isEmpty
        for (index, pattern) in includes.enumerated() where !isIncluded || unmatched.contains(index) {
            guard pattern.matchesOrContains(path) else { continue }
            isIncluded = true
            unmatched.remove(index)
        }
        return isIncluded
    }

    private func visit(_ path: [[UInt8]], _ entry: TreeEntry) throws -> TreeWalker.Step {
        let isIncluded = isIncluded(path)
        if entry.metadata.type == .directory {
            guard isIncluded else { return .descend }
            do {
                try makeDirectory(path, entry)
                return .descend
            } catch let error as SnapshotError {
                if error.code == .noSpace { throw error }
                context.failed(path, error)
                return .skip
            }
        }
        guard isIncluded else { return .skip }
        do {
            try restore(path, entry)
        } catch let error as SnapshotError {
            if error.code == .noSpace { throw error }
            context.failed(path, error)
        } catch let error as RepositoryError
            where error.code == .damaged || error.code == .notFound || error.isMissingObject
        {
            context.damaged(path, error)
        }
        return .skip
    }

    private func makeDirectory(_ path: [[UInt8]], _ entry: TreeEntry) throws {
        let parent = try context.target.directory(Array(path.dropLast()), create: true)
        if let there = try parent.type(of: entry.name), there != .directory {
            guard context.request.overwrite == .always || context.request.overwrite == .ifChanged else {
                throw SnapshotError(
                    .alreadyExists, "\(there.text) is in the way of a directory: choose --overwrite always")
            }
            try parent.remove(name: entry.name)
        }
        _ = try context.target.directory(path, create: true)
        directories.append((path, entry.metadata))
    }

    /// Restores an entry that is no directory, or puts it in the batch.
    private func restore(_ path: [[UInt8]], _ entry: TreeEntry) throws {
        let metadata = entry.metadata
        context.progress.update { $0.current = PathText.display(Array(path.joined(separator: [0x2f]))) }
        if metadata.linkCount > 1 {
            let key = Link(device: metadata.device, inode: metadata.inode)
            if let first = firstNames[key] {
                links.append((path, first, entry))
                return
            }
            firstNames[key] = path
        }
        let directory = try context.target.directory(Array(path.dropLast()), create: true)
        let there = try directory.type(of: entry.name)
        if there != nil, context.request.overwrite == .never, !context.request.resume { return context.left(path) }
        if metadata.type == .regular {
            let inPlace = there == .regular && (context.request.resume || context.request.overwrite == .ifChanged)
            if inPlace { try checkOurs(directory, entry, .regular) }
            if let there, !inPlace { try clear(directory, entry, there) }
            let items = try loader.items(of: entry.content ?? .inline([]))
            try check(items, of: entry)
            add(
                RestoreFile(
                    path: path, entry: entry, items: items, inPlace: inPlace && isUpdatable(directory, entry),
                    context: context))
            if batchChunkCount >= Self.batchChunks || batch.count >= Self.openBatchFiles { try restoreBatch() }
            return
        }
        if let there { try clear(directory, entry, there) }
        let remark: RestoreRemark? =
            if metadata.type == .symbolicLink {
                try directory.makeSymbolicLink(name: entry.name, target: metadata.linkTarget)
            } else {
                try directory.makeSpecialFile(name: entry.name, metadata: metadata)
            }
        if let remark {
            context.remark(path, [remark])
            return context.skipped()
        }
        context.restored(path, context.metadata.apply(metadata, to: entry.name, in: directory))
    }

    /// Refuses a list of pieces that is not as long as the file: whoever wrote it lied or erred.
    private func check(_ items: [ContentItem], of entry: TreeEntry) throws(RepositoryError) {
        var length: UInt64 = 0
        for item in items {
            let (sum, overflow) = length.addingReportingOverflow(item.length)
            guard !overflow else { throw RepositoryError(.damaged, "its pieces are longer than any file") }
            length = sum
        }
        guard length == entry.metadata.size else {
            throw RepositoryError(
                .damaged, "its pieces have \(length) bytes together, and the file \(entry.metadata.size)")
        }
    }

    /// A file with other names may lie outside of the target as well: it is replaced, not written to.
    private func isUpdatable(_ directory: DirectoryHandle, _ entry: TreeEntry) -> Bool {
        if (try? FileWriter.openExisting(in: directory, name: entry.name)) != nil { return true }
        // Unreadable or linked elsewhere: a new file takes its place when it is complete.
        return false
    }

    private func clear(_ directory: DirectoryHandle, _ entry: TreeEntry, _ there: RepositoryFormat.FileType)
        throws(SnapshotError)
    {
        try checkOurs(directory, entry, there)
        if there == .directory {
            try directory.removeDirectory(name: entry.name)
        } else {
            try directory.remove(name: entry.name)
        }
    }

    /// Refuses to touch what is there, unless it was asked for, or an interrupted run of this restore has left it: a file
    /// gets its name, size and time when it is complete, never before.
    private func checkOurs(_ directory: DirectoryHandle, _ entry: TreeEntry, _ there: RepositoryFormat.FileType)
        throws(SnapshotError)
    {
        if context.request.overwrite == .always || context.request.overwrite == .ifChanged { return }
        let ways = "choose --overwrite always, if-changed or never"
        guard context.request.resume else {
            throw SnapshotError(
                .alreadyExists, "is there already: \(ways), or --resume to go on with an interrupted restore")
        }
        let found = try directory.metadata(
            of: entry.name, owners: context.metadata.owners, includingExtendedAttributes: false)
        let wanted = entry.metadata
        // Not every file system keeps nanoseconds.
        let isSame =
            there == wanted.type && found.linkTarget == wanted.linkTarget
            && (there != .regular || found.size == wanted.size)
            && (there != .regular || abs(found.modified - wanted.modified) < 2)
        guard isSame else {
            throw SnapshotError(
                .alreadyExists, "is there, and no earlier run of this restore has left it: \(ways)")
        }
    }

    private func makeLink(_ path: [[UInt8]], _ first: [[UInt8]], _ entry: TreeEntry) {
        do {
            let directory = try context.target.directory(Array(path.dropLast()), create: true)
            guard let name = path.last, let firstName = first.last else { return }
            if let there = try directory.type(of: name) {
                if context.request.overwrite == .never, !context.request.resume { return context.left(path) }
                try clear(directory, entry, there)
            }
            let source = try context.target.directory(Array(first.dropLast()), create: false)
            if let remark = try directory.makeHardLink(name: name, to: firstName, in: source) {
                context.remark(path, [remark])
                return context.skipped()
            }
            context.restored(path, [])
        } catch {
            context.failed(path, error)
        }
    }

    // MARK: Content

    private func add(_ file: RestoreFile) {
        batch.append(file)
        batchChunkCount += file.items.count
    }

    private func restoreBatch() throws {
        let files = batch
        batch = []
        batchChunkCount = 0
        guard !files.isEmpty else { return }
        let places = try prepare(files)
        let ids = Array(places.keys)
        let context = context
        let failures = try reader.read(ids, kind: .data) { id, bytes in
            try context.check()
            for place in places[id] ?? [] { try place.file.write(bytes, at: place.offset) }
        }
        for failure in failures {
            for place in places[failure.id] ?? [] { try place.file.lose(failure.error, at: place.offset) }
        }
    }

    /// Looks at what is there and gathers what must be fetched; files that need nothing are completed.
    private func prepare(_ files: [RestoreFile]) throws -> [ChunkID: [RestoreFile.Place]] {
        let gathered = Mutex<[ChunkID: [RestoreFile.Place]]>([:])
        let next = Atomic<Int>(0)
        let fatal = Mutex<(any Error)?>(nil)
        let context = context
        let threads = min(files.count, context.repository.options.processors)
        WorkerThreads(count: threads, name: "becalm-compare") { _ in
            let buffer = Buffer(capacity: 64 << 10)
            while fatal.withLock({ $0 == nil }) {
                let position = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard position < files.count else { return }
                let file = files[position]
                do {
                    try context.check()
                    let wanted = try file.prepare(buffer)
                    gathered.withLock { gathered in
                        for (id, offset) in wanted {
                            gathered[id, default: []].append(.init(file: file, offset: offset))
                        }
                    }
                } catch let error as SnapshotError where error.code != .noSpace {
                    file.fail(error)
                    context.failed(file.path, error)
                    continue
                } catch {
                    fatal.withLock { $0 = $0 ?? error }
                    return
                }
                do { try file.release() } catch { fatal.withLock { $0 = $0 ?? error } }
            }
        }.join()
        if let error = fatal.withLock({ $0 }) { throw error }
        return gathered.withLock { $0 }
    }
}
