internal import Checkpoints
internal import RepositoryFormat

/// What the manifest of a joined snapshot says of what its parts' manifests say.
struct JoinedTelling {
    private(set) var problems: [SnapshotManifest.Problem] = []
    /// Nil when no part was judged.
    private(set) var inventory: StateInventory?

    /// Problems that a manifest lists; more are counted in the last line.
    private static let problemLimit = 1000

    /// That of `parts`, whose manifests these are, in the same order. `dropped` is what some shard has and the tree has not.
    init(
        _ parts: [JoinPart], _ manifests: [SnapshotManifest], _ shards: JoinShards, _ dropped: [JoinShards.Dropped]
    ) {
        var found = Set<SnapshotManifest.Problem>()
        for (part, manifest) in zip(parts, manifests) {
            for problem in manifest.problems {
                found.insert(.init(path: Self.place(problem.path, part, manifest), message: problem.message))
            }
            if let own = manifest.inventory { add(own, part, manifest) }
        }
        inventory?.doubt(shards.doubts)
        let complete = inventory?.completeCheckpoints ?? []
        for path in Set(dropped.map(\.path)).sorted() { inventory?.drop(path) }
        let left = Set((inventory?.completeCheckpoints ?? []).map { TreePath.parent($0) })
        for directory in Set(complete.map { TreePath.parent($0) }).subtracting(left) {
            let message =
                "no complete checkpoint in it is in the snapshot: each changed between the shards of this backup; stop the job, or have more of them kept"
            found.insert(.init(path: PathText.display(Array(directory.utf8)), message: message))
        }
        let names = Dictionary(
            zip(parts, manifests).compactMap { part, manifest in
                manifest.shard == nil ? nil : (part.place, (part, manifest))
            },
            uniquingKeysWith: { first, _ in first })
        for entry in dropped where !entry.reason.isEmpty {
            let problem = SnapshotManifest.Problem(path: Self.source(entry.path, names.values), message: entry.reason)
            // What is not there because a job saves is no problem of a backup.
            if entry.reason == JoinShards.changed {
                inventory?.leftOut.append(problem)
            } else {
                found.insert(problem)
            }
        }
        inventory?.trim()
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
        for run in moved.runs {
            guard let known = joined.runs.firstIndex(where: { StateName($0) == StateName(run) }) else {
                joined.runs.append(run)
                continue
            }
            // What a tracker says is what that shard has read that stores it.
            let tracker = own.runs.first { $0.format == run.format && run.path.hasSuffix($0.path) }?.trackers.first
            if let shard = manifest.shard, let tracker = tracker.flatMap({ StatePath.components($0) }),
                shard.holds(tracker)
            {
                joined.runs[known] = run
            }
        }
        var leftOut = Set(joined.leftOut)
        for entry in moved.leftOut {
            let entry = SnapshotManifest.Problem(path: Self.place(entry.path, part, manifest), message: entry.message)
            if leftOut.insert(entry).inserted { joined.leftOut.append(entry) }
        }
        // All shards of a tree lack the same.
        if (manifest.shard?.index ?? 0) == 0 { joined.unlisted += moved.unlisted }
        inventory = joined
    }

    /// What a state or a run is told from others by.
    struct StateName: Hashable {
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
        return inside(path, part, manifest).map { "/" + $0 } ?? path
    }

    /// The same from the joined snapshot's root on, without a slash in front; nil for what is not in it.
    static func inside(_ path: String, _ part: JoinPart, _ manifest: SnapshotManifest) -> String? {
        let from = part.from.map { PathText.display($0) }
        let place = part.place.map { PathText.display($0) }
        for source in manifest.paths {
            let root = PathText.display(SourceWalker.rootName(Array(source.utf8)))
            let prefix = source.hasSuffix("/") ? source : source + "/"
            guard path == source || path.hasPrefix(prefix) else { continue }
            let below = path.dropFirst(prefix.count).split(separator: "/").map(String.init)
            let inside = [root] + below
            guard inside.starts(with: from) else { continue }
            return (place + inside.dropFirst(from.count)).joined(separator: "/")
        }
        return nil
    }

    /// A path in the joined snapshot as problems name it: that of the machine for what stays at its place at the root.
    private static func source(
        _ path: String, _ shards: some Sequence<(JoinPart, SnapshotManifest)>
    ) -> String {
        for (part, manifest) in shards where part.from.isEmpty && part.place.isEmpty {
            for source in manifest.paths {
                let root = PathText.display(SourceWalker.rootName(Array(source.utf8)))
                guard path == root || path.hasPrefix(root + "/") else { continue }
                let below = path.dropFirst(root.count)
                return source.hasSuffix("/") ? source + below.dropFirst() : source + below
            }
        }
        return "/" + path
    }
}

extension StateInventory {
    /// Paths of checkpoints that are complete.
    fileprivate var completeCheckpoints: [String] {
        states.filter { $0.kind == StateKind.checkpoint.rawValue && $0.judgement == Judgement.complete.rawValue }
            .map(\.path)
    }

    /// Holds states, by path, for such of which nothing can be said.
    fileprivate mutating func doubt(_ reasons: [String: String]) {
        for index in states.indices {
            guard let reason = reasons[states[index].path] else { continue }
            if states[index].judgement == Judgement.complete.rawValue {
                states[index].judgement = Judgement.unknown.rawValue
            }
            states[index].reasons = [reason]
        }
    }

    /// Takes back what is at `path` or below it, by its path as text.
    fileprivate mutating func drop(_ path: String) {
        let isGone = { (other: String) in TreePath.holds(path, PathText.display(Array(other.utf8))) }
        states.removeAll { state in state.files.map { $0.contains(where: isGone) } ?? isGone(state.path) }
        for index in runs.indices {
            if let newest = runs[index].newestComplete, isGone(newest) { runs[index].newestComplete = nil }
            guard let resumed = runs[index].resumesFrom, isGone(resumed) else { continue }
            runs[index].resumesFrom = nil
            runs[index].step = nil
            runs[index].warnings.append("\(resumed), from which it would resume, changed during the backup")
        }
        runs.removeAll { isGone($0.path) }
    }

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
