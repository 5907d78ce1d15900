internal import Basics
internal import Logging
internal import Repository
internal import RepositoryFormat

/// Finds the file of an earlier snapshot that a new file most likely resembles: the one at the same path, else one whose
/// path differs in numbers only, as `checkpoint-500/model.safetensors` and `checkpoint-600/model.safetensors` do.
///
/// Used by one thread; blocks.
final class BaseFinder {
    /// Directories and names that are looked at for one file at the most.
    private static let mostDirectories = 64
    private static let mostNames = 10_000

    private let loader: TreeLoader
    private let pages: [ChunkID]
    private let logger: Logger

    /// Looks among what is below the root directory `pages`.
    init(loader: TreeLoader, pages: [ChunkID], logger: Logger) {
        self.loader = loader
        self.pages = pages
        self.logger = logger
    }

    private struct Candidate {
        var entry: TreeEntry
        /// Components of the path that are the same.
        var same: Int
    }

    private struct Search {
        var path: [[UInt8]]
        var directories = 0
        var names = 0
        var best: Candidate?

        var isOver: Bool { directories >= BaseFinder.mostDirectories || names >= BaseFinder.mostNames }
    }

    /// Directories that were read for patterns, in all; beyond a limit only equal paths count.
    private var directoriesRead = 0
    private static let mostDirectoriesRead = 4096

    /// The base for the file at `path`; nil when nothing resembles it. What cannot be read is no base.
    func base(for path: [[UInt8]]) -> BaseFile? {
        do {
            if let entry = try same(path) { return BaseFile(entry, loader: loader, logger: logger) }
            guard directoriesRead < Self.mostDirectoriesRead else { return nil }
            var search = Search(path: path)
            try look(into: pages, depth: 0, same: 0, &search)
            directoriesRead += search.directories
            return search.best.map { BaseFile($0.entry, loader: loader, logger: logger) }
        } catch {
            logger.debug("no base is looked for in what cannot be read: \(error)")
            return nil
        }
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

    private func look(
        into pages: [ChunkID], depth: Int, same: Int, _ search: inout Search
    ) throws(RepositoryError) {
        guard depth < search.path.count, !search.isOver else { return }
        search.directories += 1
        let name = search.path[depth]
        let isLast = depth == search.path.count - 1
        let pattern = Self.pattern(of: name)
        var found: [TreeEntry] = []
        for page in pages where !search.isOver {
            let entries = try loader.page(page)
            search.names += entries.count
            found += entries.filter {
                $0.metadata.type == (isLast ? .regular : .directory)
                    && ($0.name == name || Self.pattern(of: $0.name) == pattern)
            }
        }
        // The newest first, but before all the one of the same name: that is the most alike.
        found.sort { ($0.name == name ? 1 : 0, $0.metadata.modified) > ($1.name == name ? 1 : 0, $1.metadata.modified) }
        for entry in found {
            let now = same + (entry.name == name ? 1 : 0)
            guard isLast else {
                try look(into: entry.pages, depth: depth + 1, same: now, &search)
                continue
            }
            guard entry.metadata.size > SmallFile.limit else { continue }
            if let best = search.best,
                (best.same, best.entry.metadata.modified) >= (now, entry.metadata.modified)
            {
                continue
            }
            search.best = Candidate(entry: entry, same: now)
        }
    }

    /// The name with each run of digits as one `#`.
    private static func pattern(of name: [UInt8]) -> [UInt8] {
        var pattern: [UInt8] = []
        for byte in name {
            let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            if isDigit, pattern.last == UInt8(ascii: "#") { continue }
            pattern.append(isDigit ? UInt8(ascii: "#") : byte)
        }
        return pattern
    }
}
