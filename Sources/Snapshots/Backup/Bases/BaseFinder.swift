internal import Logging
internal import Repository
internal import RepositoryFormat

/// What a new file may resemble.
struct FileBases {
    /// A file of an earlier snapshot.
    var stored: BaseFile?
    /// Files on the disk, the most alike first.
    var disk: [DiskBaseFile] = []
}

/// Finds the files that a new file most likely resembles: in an earlier snapshot the one at the same path, else one whose
/// path differs in numbers only; and such files on the disk that is being backed up.
///
/// Used by one thread; blocks.
final class BaseFinder {
    /// Files on the disk for one file: where checkpoints are removed as new ones come, the last may be a difference itself,
    /// to one that is still there.
    private static let mostOnDisk = 3

    private let loader: TreeLoader
    private let pages: [ChunkID]
    private let logger: Logger
    private let stored: BaseSearch<StoredTree>
    private let disk: (tree: DiskTree, search: BaseSearch<DiskTree>)?

    /// Looks among what is below the root directory `pages`, and in `disk` where it is given.
    init(loader: TreeLoader, pages: [ChunkID], disk: DiskTree?, logger: Logger) {
        self.loader = loader
        self.pages = pages
        self.logger = logger
        stored = BaseSearch(StoredTree(loader: loader, root: pages))
        self.disk = disk.map { ($0, BaseSearch($0)) }
    }

    /// The bases for the file at `path`. What cannot be read is no base.
    func bases(for path: [[UInt8]]) -> FileBases {
        var bases = FileBases()
        do {
            if let entry = try same(path) {
                // The last state of this very file: nothing on the disk is more like it.
                bases.stored = BaseFile(entry, loader: loader, logger: logger)
                return bases
            }
            bases.stored = try stored.files(like: path, most: 1).first.map {
                BaseFile($0, loader: loader, logger: logger)
            }
        } catch {
            logger.debug("no base is looked for in what cannot be read: \(error)")
        }
        if let (tree, search) = disk {
            do {
                bases.disk = try search.files(like: path, most: Self.mostOnDisk).map {
                    DiskBaseFile(at: $0, in: tree, logger: logger)
                }
            } catch {
                logger.debug("no base is looked for on the disk: \(error)")
            }
        }
        return bases
    }

    /// The large file at the same path, if there is one.
    private func same(_ path: [[UInt8]]) throws(RepositoryError) -> TreeEntry? {
        var pages = pages
        var found: TreeEntry?
        for (depth, name) in path.enumerated() {
            found = try TreeEntry.find(name, in: pages, loader)
            guard let found, found.metadata.type == (depth == path.count - 1 ? .regular : .directory) else {
                return nil
            }
            pages = found.pages
        }
        return found.flatMap { $0.metadata.size > SmallFile.limit ? $0 : nil }
    }
}

/// An earlier snapshot's tree. A directory is its pages.
private struct StoredTree: BaseTree {
    let loader: TreeLoader
    let root: [ChunkID]

    func entry(named name: [UInt8], in directory: [ChunkID]) throws -> BaseTreeEntry<[ChunkID], TreeEntry>? {
        try TreeEntry.find(name, in: directory, loader).flatMap(found)
    }

    func entries(
        of directory: [ChunkID], most: Int, where fits: ([UInt8]) -> Bool
    ) throws -> (entries: [BaseTreeEntry<[ChunkID], TreeEntry>], names: Int) {
        var entries: [BaseTreeEntry<[ChunkID], TreeEntry>] = []
        var names = 0
        for page in directory where names < most {
            let page = try loader.page(page)
            names += page.count
            entries += page.compactMap { fits($0.name) ? found($0) : nil }
        }
        return (entries, names)
    }

    private func found(_ entry: TreeEntry) -> BaseTreeEntry<[ChunkID], TreeEntry>? {
        switch entry.metadata.type {
        case .directory:
            .init(name: entry.name, modified: entry.metadata.modified, content: .directory(entry.pages))
        case .regular where entry.metadata.size > SmallFile.limit:
            .init(name: entry.name, modified: entry.metadata.modified, content: .file(entry))
        default: nil
        }
    }
}
