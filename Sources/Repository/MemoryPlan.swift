/// How the memory budget is shared out. Everything that grows with the data is bounded by one of these numbers.
package struct MemoryPlan: Hashable, Sendable {
    /// Bytes of a data pack and how many are in memory at once, being filled or uploaded.
    package let packBytes: Int
    package let packs: Int
    /// The same for tree packs.
    package let treePackBytes: Int
    package let treePacks: Int
    /// Bytes of a piece of a large file and how many are in memory at once.
    package let stripBytes: Int
    package let strips: Int
    /// Bytes of a ranged read and how many are under way at once.
    package let rangeBytes: Int
    package let ranges: Int
    /// Bytes of the longest chunk that another is stored as the difference to, and how many such bases are in memory at
    /// once, each as it is stored and as it was: whoever stores or reads differences.
    package let baseBytes: Int
    package let bases: Int

    /// The smallest budget that works: below it these numbers hold all the same.
    package static let minimumBytes = 96 << 20

    /// Backup: half of the budget for data packs (64 MiB each where at least two fit), an eighth for strips, an eighth for
    /// bases, the rest for trees, compressors and the index. Restore: ranges take at most a fifth, with twice as much for
    /// what is decoded, and bases an eighth.
    package init(memoryBytes: Int, processors: Int, connections: Int) {
        let budget = max(memoryBytes, Self.minimumBytes)
        let packShare = budget / 2
        packBytes = min(64 << 20, max(16 << 20, packShare / 2))
        packs = max(2, min(packShare / packBytes, connections + 1))
        treePackBytes = 4 << 20
        treePacks = 2
        stripBytes = 2 << 20
        // A chunk of 8 MiB spans at most five strips; two more keep readers busy.
        strips = max(8, min(budget / 8 / stripBytes, processors * 6))
        rangeBytes = 8 << 20
        ranges = max(2, min(budget / 5 / rangeBytes, max(connections, processors)))
        // Pieces of tensors have four.
        baseBytes = 4 << 20
        bases = max(1, min(budget / 8 / (2 * baseBytes), processors + 1))
    }
}
