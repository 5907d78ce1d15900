internal import RepositoryFormat

/// Which states of an inventory a path belongs to. An inventory is not trusted: a path that no snapshot can hold belongs
/// to nothing.
struct StateMembers: Sendable {
    /// States that are everything below a path, by that path.
    private var whole: [[UInt8]: [Int]] = [:]
    /// States that name their files, by those; and all by their commit markers.
    private var listed: [[UInt8]: [Int]] = [:]
    /// All paths of the two tables in the order of their bytes.
    private var sorted: [[UInt8]] = []

    /// The states of `inventory`, where `place` puts their paths.
    init(_ inventory: StateInventory, place: ([[UInt8]]) -> [[UInt8]] = { $0 }) {
        for (index, state) in inventory.states.enumerated() {
            guard let path = StatePath.directory(state.path) else { continue }
            if state.files == nil {
                whole[StatePath.key(place(path)), default: []].append(index)
            } else {
                listed[StatePath.key(place(path)), default: []].append(index)
            }
            for file in (state.files ?? []) + state.commitMarkers {
                guard let file = StatePath.components(file) else { continue }
                listed[StatePath.key(place(file)), default: []].append(index)
            }
        }
        sorted = Set(whole.keys).union(listed.keys).sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// The states that `path` belongs to, as positions in the inventory.
    func states(of path: [[UInt8]]) -> Set<Int> {
        guard !whole.isEmpty || !listed.isEmpty else { return [] }
        var found = Set(listed[StatePath.key(path)] ?? [])
        for depth in 0...path.count {
            if let states = whole[StatePath.key(path.prefix(depth))] { found.formUnion(states) }
        }
        return found
    }

    /// The states that have something below the directory `path`.
    func states(below path: [[UInt8]]) -> Set<Int> {
        let prefix = path.isEmpty ? [] : StatePath.key(path) + [StatePath.slash]
        var (lower, upper) = (0, sorted.count)
        while lower < upper {
            let middle = (lower + upper) / 2
            if sorted[middle].lexicographicallyPrecedes(prefix) { lower = middle + 1 } else { upper = middle }
        }
        var found = Set<Int>()
        for key in sorted[lower...].prefix(while: { $0.starts(with: prefix) }) {
            found.formUnion(whole[key] ?? [])
            found.formUnion(listed[key] ?? [])
        }
        return found
    }
}
