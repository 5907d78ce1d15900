internal import RepositoryFormat

/// The parts that are shards of one tree: what must be so in all of them to be so in the tree.
///
/// Shards are taken side by side, or one after another, while a job may save. What one of them has left out, none has; and
/// a directory or checkpoint that is not the same in all of them came, went or changed meanwhile: it is left out as what is
/// being written is left out of any backup.
struct JoinShards: Sendable {
    /// Something that is in a part and not in the joined tree.
    struct Dropped: Hashable, Sendable {
        /// In the joined snapshot, as text.
        var path: String
        var reason: String
    }

    static let changed = "it changed between the shards of this backup: it was being written"

    /// By part, the number of its place's group; nil for what is no shard among several.
    private let groups: [Int?]
    /// Parts of each group.
    private let sizes: [Int: Int]
    /// What the parts' inventories say is not to be there, by its path as text; nil for what a part has named itself.
    private(set) var dropped: [String: String?] = [:]
    /// States, by path, that are stored, but of which nobody knows what they are.
    private(set) var doubts: [String: String] = [:]

    /// Those among `parts`, whose manifests these are. Throws `.invalidArgument` where some of a tree's shards are missing.
    init(_ parts: [JoinPart], _ manifests: [SnapshotManifest]) throws(SnapshotError) {
        var members: [[[UInt8]]: [Int]] = [:]
        for (position, part) in parts.enumerated() where manifests[position].shard != nil {
            members[part.place, default: []].append(position)
        }
        var groups = [Int?](repeating: nil, count: parts.count)
        var sizes: [Int: Int] = [:]
        for (place, positions) in members {
            try Self.check(positions, at: place, parts, manifests)
            guard positions.count > 1 else { continue }
            for position in positions { groups[position] = positions[0] }
            sizes[positions[0]] = positions.count
        }
        self.groups = groups
        self.sizes = sizes
        for positions in members.values where positions.count > 1 {
            for position in positions { leaveOut(parts[position], manifests[position]) }
            compare(positions.map { (parts[$0], manifests[$0]) })
        }
    }

    private static func check(
        _ positions: [Int], at place: [[UInt8]], _ parts: [JoinPart], _ manifests: [SnapshotManifest]
    ) throws(SnapshotError) {
        let first = positions[0]
        let count = manifests[first].shard?.count ?? 1
        var missing = Set(0..<count)
        for position in positions {
            let shard = manifests[position].shard
            guard shard?.count == count, manifests[position].paths == manifests[first].paths,
                parts[position].from == parts[first].from, let index = shard?.index, missing.remove(index) != nil
            else {
                throw SnapshotError(
                    .invalidArgument,
                    "the snapshots \(parts[first].snapshot.description.prefix(12)) and \(parts[position].snapshot.description.prefix(12)) are not different shards of the same: join the shards of one backup, each once"
                )
            }
        }
        if let index = missing.min(), let shard = Shard(index: index, count: count) {
            throw SnapshotError(
                .invalidArgument,
                "shard \(shard) of what comes to \(StatePath.text(place)) is missing: join all shards of a backup")
        }
    }

    private mutating func leaveOut(_ part: JoinPart, _ manifest: SnapshotManifest) {
        for entry in manifest.inventory?.leftOut ?? [] {
            if let path = JoinedTelling.inside(entry.path, part, manifest) { dropped[path] = .some(nil) }
        }
    }

    /// Compares what all shards say of each state.
    private mutating func compare(_ members: [(part: JoinPart, manifest: SnapshotManifest)]) {
        let inventories = members.map { part, manifest in
            (manifest.inventory ?? StateInventory()).moved(from: part.from, to: part.place).states
        }
        var seen: [JoinedTelling.StateName: [StateInventory.State]] = [:]
        for state in inventories.joined() { seen[JoinedTelling.StateName(state), default: []].append(state) }
        for states in seen.values {
            let first = states[0]
            let isSame = states.count == members.count && states.dropFirst().allSatisfy { Self.isSame($0, first) }
            guard !isSame else { continue }
            let shared = members[0].part.place.count + (members[0].part.from.isEmpty ? 1 : 0)
            let paths = (states.flatMap { $0.files ?? [$0.path] }).compactMap { StatePath.components($0) }
            // What was named as a source is stored, whatever has become of it; and of a model, what can be had of it.
            guard first.kind == "checkpoint", !paths.isEmpty, paths.allSatisfy({ $0.count > shared }) else {
                doubts[first.path] = Self.changed
                continue
            }
            for path in paths where dropped[StatePath.text(path)] == nil {
                dropped[StatePath.text(path)] = Self.changed
            }
        }
    }

    private static func isSame(_ one: StateInventory.State, _ other: StateInventory.State) -> Bool {
        one.judgement == other.judgement && one.step == other.step && one.bytes == other.bytes
            && one.modified == other.modified && one.files == other.files
    }

    /// Whether anything must be looked at more closely.
    var isEmpty: Bool { sizes.isEmpty }

    /// Whether a directory of these parts may be taken over as it is: it is in no group.
    func isAlone(_ part: Int) -> Bool { groups[part] == nil }

    /// Why what has one name in several directories is not in the joined tree though some shard has it; nil for what is.
    ///
    /// - Parameters:
    ///   - entries: what there is, by part.
    ///   - path: where it is, as text.
    func reason(for entries: [(part: Int, entry: TreeEntry)], at path: String) -> Dropped? {
        guard !sizes.isEmpty else { return nil }
        var directories: [Int: Int] = [:]
        var others: [Int: Int] = [:]
        for (part, entry) in entries {
            guard let group = groups[part] else { continue }
            if entry.metadata.type == .directory {
                directories[group, default: 0] += 1
            } else {
                others[group, default: 0] += 1
            }
        }
        guard !directories.isEmpty || !others.isEmpty else { return nil }
        if let known = dropped[path] { return Dropped(path: path, reason: known ?? "") }
        for (group, count) in directories where count != sizes[group] || others[group] != nil {
            return Dropped(path: path, reason: "it came, went or changed its type between the shards of this backup")
        }
        return nil
    }
}
