internal import Basics
internal import Repository
internal import RepositoryFormat

/// Walks the trees of all parts once and stores the joined one: pages in which nothing changes are taken as they are.
///
/// Every chunk that the trees name is looked up, for the snapshot relies on its pack; none is read but the trees' own, and
/// those that only packs have that a collector has given up, which are stored anew. Blocks; runs on a thread of ours.
struct JoinPass {
    /// What the pass has stored.
    struct Outcome: Sendable {
        var root: TreeEntry
        var totals: SnapshotManifest.Totals
        /// What some shard has and the tree has not.
        var dropped: [JoinShards.Dropped]
    }

    /// A directory as it was stored.
    private struct Stored {
        var pages: [ChunkID]
        var totals = SnapshotManifest.Totals()
    }

    private let session: WriteSession
    private let loader: TreeLoader
    private let encoder: ChunkEncoder
    private let progress: OperationProgress
    private let parts: [JoinPart]
    /// What directories are like that no part has.
    private let plain: FileMetadata
    private let shards: JoinShards
    private var links: JoinLinks
    private var dropped: [JoinShards.Dropped] = []

    init(
        session: WriteSession, loader: TreeLoader, parts: [JoinPart], shards: JoinShards, plain: FileMetadata,
        progress: OperationProgress
    ) throws(RepositoryError) {
        self.shards = shards
        self.session = session
        self.loader = loader
        self.parts = parts
        self.plain = plain
        self.progress = progress
        encoder = try ChunkEncoder(session: session)
        links = JoinLinks(parts)
    }

    /// Stores the tree whose root is `place`, and finishes the session.
    ///
    /// Throws `SnapshotError` `.alreadyExists` where parts contradict each other, `RepositoryError` `.damaged` and `.notFound`
    /// where a part lacks something, `.cancelled`.
    mutating func run(_ place: JoinPlace) throws -> Outcome {
        let (root, totals) = try merge(name: Array("root".utf8), [], place, at: [])
        try encoder.flush()
        try session.finish()
        return Outcome(root: root, totals: totals, dropped: dropped)
    }

    // MARK: What several parts have

    /// Stores the directory at `path`, which is in `directories` and perhaps a place of the request too.
    private mutating func merge(
        name: [UInt8], _ directories: [PartDirectory], _ place: JoinPlace?, at path: [[UInt8]]
    ) throws -> (entry: TreeEntry, below: SnapshotManifest.Totals) {
        try checkDepth(path)
        let sources = (directories + (place?.roots ?? [])).sorted { $0.part < $1.part }
        let metadata = sources.lazy.compactMap(\.metadata).first ?? plain
        let entry = TreeEntry(name: name, metadata: metadata)
        if let only = sources.first, sources.count == 1, place?.children.isEmpty ?? true {
            let stored = try copy(only.pages, of: only.part, at: path)
            var same = entry
            same.pages = stored.pages
            same.treeDigest = only.digest
            return (same, stored.totals)
        }
        var pages = DirectoryPages()
        var merging = Merging(sources, place, loader)
        while let next = try reading(
            path, of: sources.first?.part, { () throws(RepositoryError) in try merging.next() })
        {
            let inner = path + [next.name]
            if !shards.isEmpty, let reason = shards.reason(for: next.entries, at: StatePath.text(inner)) {
                dropped.append(reason)
                continue
            }
            if next.place == nil, next.entries.count == 1, let only = next.entries.first {
                let (child, below) = try adopt(only.entry, of: only.part, at: inner)
                pages.count(child, below)
                try pages.add(child, encoder)
                continue
            }
            let isDirectory = next.entries.allSatisfy { $0.entry.metadata.type == .directory }
            let (child, below) =
                isDirectory
                ? try merge(
                    name: next.name, next.entries.map { PartDirectory(part: $0.part, $0.entry) }, next.place, at: inner)
                : try adopt(try agreed(next, at: inner), of: next.entries[0].part, at: inner)
            pages.count(child, below)
            try pages.add(child, encoder)
        }
        return (try pages.finish(entry, encoder), pages.totals)
    }

    /// The file that several parts have at `path`.
    private func agreed(_ next: Merging.Next, at path: [[UInt8]]) throws(SnapshotError) -> TreeEntry {
        let first = next.entries[0]
        if next.place != nil, let file = next.entries.first(where: { $0.entry.metadata.type != .directory }) {
            throw SnapshotError(
                .alreadyExists,
                "\(StatePath.text(path)) is \(file.entry.metadata.type.text) in snapshot \(id(file.part)) and a directory that other parts are to come into: join them at other places",
                path: StatePath.key(path))
        }
        for other in next.entries.dropFirst() where !Self.isSame(first.entry, other.entry) {
            throw SnapshotError(
                .alreadyExists,
                "\(StatePath.text(path)) is not the same in the snapshots \(id(first.part)) and \(id(other.part)): join them at different places",
                path: StatePath.key(path))
        }
        return first.entry
    }

    private func id(_ part: Int) -> Substring { parts[part].snapshot.description.prefix(12) }

    /// Whether two entries that are no directories say the same of a file, wherever they were taken.
    private static func isSame(_ one: TreeEntry, _ other: TreeEntry) -> Bool {
        var (left, right) = (one, other)
        right.metadata.device = left.metadata.device
        right.metadata.inode = left.metadata.inode
        right.metadata.changed = left.metadata.changed
        right.metadata.linkCount = left.metadata.linkCount
        if left.fileDigest != nil, right.fileDigest != nil {
            left.content = nil
            right.content = nil
        }
        return left == right
    }

    // MARK: What one part has

    /// Takes an entry over with all that lies below it.
    private mutating func adopt(
        _ entry: TreeEntry, of part: Int, at path: [[UInt8]]
    ) throws -> (entry: TreeEntry, below: SnapshotManifest.Totals) {
        var entry = links.adopt(entry, of: part)
        guard entry.metadata.type == .directory else {
            try keep(entry, at: path)
            progress.update {
                $0.files += 1
                $0.bytes += entry.metadata.size
            }
            return (entry, SnapshotManifest.Totals())
        }
        try check(path)
        let stored = try copy(entry.pages, of: part, at: path)
        entry.pages = stored.pages
        return (entry, stored.totals)
    }

    /// Takes the directory with these pages over: pages stay as they are but where an entry has to change.
    private mutating func copy(_ pages: [ChunkID], of part: Int, at path: [[UInt8]]) throws -> Stored {
        try checkDepth(path)
        var stored = Stored(pages: [])
        var sums = DirectoryPages()
        for page in pages {
            try check(path)
            let entries = try reading(path, of: part) { () throws(RepositoryError) in try loader.page(page) }
            var adopted: [TreeEntry] = []
            adopted.reserveCapacity(entries.count)
            for entry in entries {
                let (child, below) = try adopt(entry, of: part, at: path + [entry.name])
                sums.count(child, below)
                adopted.append(child)
            }
            if adopted == entries {
                try keep(page, .tree, length: nil, at: path)
                stored.pages.append(page)
            } else {
                stored.pages.append(try encoder.add(DirectoryPage.encode(adopted), kind: .tree))
            }
        }
        stored.totals = sums.totals
        return stored
    }

    // MARK: Chunks

    /// Relies on all that a file consists of.
    private func keep(_ entry: TreeEntry, at path: [[UInt8]]) throws {
        guard let content = entry.content else { return }
        if case .lists(let references) = content {
            for reference in references { try keep(reference.id, .tree, length: nil, at: path) }
        }
        let items = try reading(path, of: nil) { () throws(RepositoryError) in try loader.items(of: content) }
        for case .chunk(let id, let length) in items { try keep(id, .data, length: length, at: path) }
    }

    /// Relies on a chunk, or where only packs have it that a collector has given up, stores it anew.
    private func keep(_ id: ChunkID, _ kind: ChunkKind, length: UInt32?, at path: [[UInt8]]) throws {
        if let stored = session.relyOnStored(id, kind: kind) {
            guard length == nil || length == stored else {
                throw RepositoryError(
                    .damaged,
                    "\(StatePath.text(path)): chunk \(id) has \(stored) bytes and its file says \(length ?? 0): 'becalm verify' tells what else is damaged"
                )
            }
            return
        }
        let bytes = try reading(path, of: nil) { () throws(RepositoryError) in try loader.chunk(id, kind: kind) }
        try check(path)
        guard try encoder.add(bytes, kind: kind) == id else {
            throw RepositoryError(.damaged, "\(StatePath.text(path)): chunk \(id) is another when it is read")
        }
    }

    /// Says in whose tree it is that something cannot be read.
    private func reading<R>(
        _ path: [[UInt8]], of part: Int?, _ body: () throws(RepositoryError) -> R
    ) throws(RepositoryError) -> R {
        do {
            return try body()
        } catch {
            guard error.code != .cancelled else { throw error }
            let whose = part.map { " of snapshot \(id($0))" } ?? ""
            throw RepositoryError(
                error.code, "cannot join \(StatePath.text(path))\(whose): \(error.message)", cause: error.cause ?? error
            )
        }
    }

    /// Throws when the owner has asked for an end or the session has failed.
    private func check(_ path: [[UInt8]]) throws {
        try session.check()
        progress.update { $0.current = StatePath.text(path) }
        if progress.isCancelled { throw JoinOperation.cancelled }
    }

    private func checkDepth(_ path: [[UInt8]]) throws(RepositoryError) {
        guard path.count < TreeWalker.maximumDepth else {
            throw RepositoryError(
                .damaged, "a part's tree is over \(TreeWalker.maximumDepth) directories deep at its place")
        }
    }
}
