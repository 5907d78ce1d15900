internal import Repository
internal import RepositoryFormat

/// One checkpoint of a snapshot and what it needs: its own files, the files that lie directly in its run's directory and
/// belong to nothing else, and what says that the run resumes from it.
struct CheckpointSelection: Sendable {
    /// What an entry is to it.
    enum Part: Hashable, Sendable {
        /// Nothing.
        case none
        /// A directory above something of it.
        case above
        /// To be restored.
        case within
        /// Says that the run resumes from another checkpoint.
        case otherTracker
    }

    /// The checkpoint's components in the snapshot.
    let path: [[UInt8]]
    let state: StateInventory.State
    /// Position of the state in the inventory.
    private let index: Int
    /// The run's directory.
    private let run: [[UInt8]]
    private let members: StateMembers
    /// Everything at or below these.
    private var own: Set<[UInt8]> = []
    private var above: Set<[UInt8]> = []
    private var otherTrackers: Set<[UInt8]> = []

    /// The state at `index` of `inventory`, whose path has these components.
    init(_ index: Int, _ path: [[UInt8]], of inventory: StateInventory) {
        self.index = index
        self.path = path
        state = inventory.states[index]
        run = Self.run(of: path, in: inventory)
        members = StateMembers(inventory)
        var wanted = (state.files ?? [state.path]) + state.commitMarkers
        var others: [String] = []
        for run in inventory.runs {
            if run.resumesFrom == state.path { wanted += run.trackers } else { others += run.trackers }
        }
        for text in wanted {
            guard let path = StatePath.components(text) else { continue }
            own.insert(StatePath.key(path))
            for depth in 1..<max(path.count, 1) { above.insert(StatePath.key(path[..<depth])) }
        }
        for depth in 0..<run.count { above.insert(StatePath.key(run[...depth])) }
        otherTrackers = Set(others.compactMap { StatePath.components($0).map { StatePath.key($0) } }).subtracting(own)
    }

    /// The directory of the run that the checkpoint at `path` is of: the nearest above it, else its parent.
    static func run(of path: [[UInt8]], in inventory: StateInventory) -> [[UInt8]] {
        let runs = inventory.runs.compactMap { StatePath.directory($0.path) }
            .filter { $0.count < path.count && path.starts(with: $0) }
        return runs.max { $0.count < $1.count } ?? Array(path.dropLast())
    }

    /// What the entry at `path` is.
    func part(of path: [[UInt8]], _ entry: TreeEntry) -> Part {
        for depth in path.indices where own.contains(StatePath.key(path[...depth])) { return .within }
        let key = StatePath.key(path)
        if otherTrackers.contains(key) { return .otherTracker }
        if entry.metadata.type == .directory { return above.contains(key) ? .above : .none }
        guard path.count == run.count + 1, path.starts(with: run), belongsToNoOther(path) else { return .none }
        switch entry.metadata.type {
        case .regular: return .within
        case .symbolicLink: return leadsElsewhere(entry.metadata.linkTarget) ? .none : .within
        default: return .none
        }
    }

    private func belongsToNoOther(_ path: [[UInt8]]) -> Bool { members.states(of: path).subtracting([index]).isEmpty }

    /// Whether a link in the run's directory leads to another state. What an absolute one leads to is not in the snapshot.
    private func leadsElsewhere(_ target: [UInt8]) -> Bool {
        guard target.first != StatePath.slash else { return false }
        var path = run
        for name in SnapshotTree.components(of: target) {
            if name == Array("..".utf8) {
                if path.popLast() == nil { return false }
            } else {
                path.append(name)
            }
        }
        return !belongsToNoOther(path)
    }
}
