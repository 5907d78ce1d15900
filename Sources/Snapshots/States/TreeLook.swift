internal import Repository
internal import RepositoryFormat

/// Looks some paths up in a snapshot's tree in one walk that reads only the directories above them.
struct TreeLook {
    /// What was found, by path.
    private(set) var entries: [[UInt8]: TreeEntry] = [:]
    /// Of the directories that were asked for: all names in them, by path.
    private(set) var names: [[UInt8]: Set<[UInt8]>] = [:]
    private let wanted: Set<[UInt8]>
    private let above: Set<[UInt8]>

    /// Looks for `paths`, and for the names beside `siblings`.
    init(paths: [[[UInt8]]], siblings: [[[UInt8]]] = []) {
        wanted = Set(paths.map { StatePath.key($0) })
        var above = Set<[UInt8]>()
        for path in paths + siblings {
            for depth in 1..<max(path.count, 1) { above.insert(StatePath.key(path[..<depth])) }
        }
        self.above = above
        for path in siblings { names[StatePath.key(path.dropLast())] = [] }
    }

    /// Walks. What cannot be read for damage is not found.
    mutating func run(pages: [ChunkID], loader: TreeLoader) throws {
        guard !wanted.isEmpty || !names.isEmpty else { return }
        var (entries, names) = (entries, names)
        var walker = TreeWalker(loader: loader)
        try walker.walk(pages: pages) { path, entry in
            names[StatePath.key(path.dropLast())]?.insert(entry.name)
            let key = StatePath.key(path)
            if wanted.contains(key) { entries[key] = entry }
            return above.contains(key) ? .descend : .skip
        }
        (self.entries, self.names) = (entries, names)
    }
}
