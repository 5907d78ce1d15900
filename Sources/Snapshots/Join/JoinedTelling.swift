internal import RepositoryFormat

/// What the manifest of a joined snapshot says of what its parts' manifests say.
struct JoinedTelling {
    private(set) var problems: [SnapshotManifest.Problem] = []
    /// Nil when no part was judged.
    private(set) var inventory: StateInventory?

    /// Problems that a manifest lists; more are counted in the last line.
    private static let problemLimit = 1000

    /// That of `parts`, whose manifests these are, in the same order.
    init(_ parts: [JoinPart], _ manifests: [SnapshotManifest]) {
        var found = Set<SnapshotManifest.Problem>()
        for (part, manifest) in zip(parts, manifests) {
            for problem in manifest.problems {
                found.insert(.init(path: Self.place(problem.path, part, manifest), message: problem.message))
            }
            if let own = manifest.inventory { add(own, part, manifest) }
        }
        let sorted = found.sorted { ($0.path, $0.message) < ($1.path, $1.message) }
        problems = Array(sorted.prefix(Self.problemLimit))
        if sorted.count > Self.problemLimit {
            problems.append(.init(path: "", message: "and \(sorted.count - Self.problemLimit) more"))
        }
    }

    private mutating func add(_ own: StateInventory, _ part: JoinPart, _ manifest: SnapshotManifest) {
        var joined = inventory ?? StateInventory()
        let moved = own.moved(from: part.from, to: part.place)
        var states = Set(joined.states.map(StateName.init))
        for state in moved.states where states.insert(StateName(state)).inserted { joined.states.append(state) }
        var runs = Set(joined.runs.map { StateName($0) })
        for run in moved.runs where runs.insert(StateName(run)).inserted { joined.runs.append(run) }
        var leftOut = Set(joined.leftOut)
        for entry in moved.leftOut {
            let entry = SnapshotManifest.Problem(
                path: Self.place(entry.path, part, manifest), message: entry.message)
            if leftOut.insert(entry).inserted { joined.leftOut.append(entry) }
        }
        joined.unlisted += moved.unlisted
        joined.trim()
        inventory = joined
    }

    /// What a state or a run is told from others by.
    private struct StateName: Hashable {
        let path: String
        let format: String
        let kind: String

        init(_ state: StateInventory.State) {
            (path, format, kind) = (state.path, state.format, state.kind)
        }

        init(_ run: StateInventory.Run) { (path, format, kind) = (run.path, run.format, "run") }
    }

    /// Where in the joined snapshot that is which a part's manifest names by its path on the machine that it is from, as
    /// text; as it is for what stays at its place at the root.
    private static func place(_ path: String, _ part: JoinPart, _ manifest: SnapshotManifest) -> String {
        guard !part.from.isEmpty || !part.place.isEmpty else { return path }
        let from = part.from.map { PathText.display($0) }
        let place = part.place.map { PathText.display($0) }
        for source in manifest.paths {
            let root = PathText.display(SourceWalker.rootName(Array(source.utf8)))
            let prefix = source == "/" ? source : source + "/"
            guard path == source || path.hasPrefix(prefix) else { continue }
            let below = path.dropFirst(prefix.count).split(separator: "/").map(String.init)
            let inside = [root] + below
            guard inside.starts(with: from) else { continue }
            return "/" + (place + inside.dropFirst(from.count)).joined(separator: "/")
        }
        return path
    }
}

extension StateInventory {
    /// Cuts the lists to what a manifest holds: torn states and checkpoints first, for a restore must know of them.
    fileprivate mutating func trim() {
        let most = Self.mostRecords
        if states.count > most {
            unlisted += UInt64(states.count - most)
            let kept = states.enumerated().sorted { ($1.element.rank, $0.offset) < ($0.element.rank, $1.offset) }
                .prefix(most).sorted { $0.offset < $1.offset }
            states = kept.map(\.element)
        }
        for count in [runs.count, leftOut.count] where count > most { unlisted += UInt64(count - most) }
        runs = Array(runs.prefix(most))
        leftOut = Array(leftOut.prefix(most))
    }
}
