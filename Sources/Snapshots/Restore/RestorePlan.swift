internal import Repository
internal import RepositoryFormat

/// What the states in a snapshot have a restore do: what it writes last, and what gets another name.
///
/// The inventory is not trusted: a path in it counts only if the snapshot's tree has it.
struct RestorePlan: Sendable {
    /// A file or link that is written after everything else.
    struct Late: Sendable {
        /// Components in the snapshot.
        let path: [[UInt8]]
        /// Position among all of them.
        var order: Int
        /// Whether it says what a run resumes from, and comes after all checkpoints.
        var isTracker: Bool
        /// States that it commits, as positions in the inventory.
        var states: [Int]
        /// Runs that it is a tracker of.
        var runs: [Int]
        /// As the snapshot has it.
        var entry: TreeEntry?
    }

    /// A state that gets another name.
    struct Aside: Sendable {
        let path: [[UInt8]]
        /// In the same directory.
        let name: [UInt8]
        let reasons: [String]
    }

    let inventory: StateInventory
    /// By the path in the snapshot.
    private(set) var late: [[UInt8]: Late] = [:]
    /// By the path in the snapshot.
    private(set) var aside: [[UInt8]: Aside] = [:]
    /// Paths in the snapshot of torn states that keep their names, for no other fits.
    private(set) var unnamed: Set<[UInt8]> = []
    /// By the path in the target.
    private(set) var members: StateMembers

    /// Names that are tried before a torn state is left where it is.
    private static let mostNames = 1000

    /// The plan for a snapshot with these root pages. Blocks; throws what reading its tree throws, but not for damage:
    /// that is found again by whoever restores.
    init(
        _ inventory: StateInventory?, pages: [ChunkID], loader: TreeLoader, target: RestoreTarget,
        request: RestoreRequest
    ) throws {
        self.inventory = inventory ?? StateInventory()
        members = StateMembers(self.inventory)
        guard inventory != nil else { return }
        gatherLate()
        let torn = request.setsAside ? tornStates() : []
        var look = TreeLook(paths: late.values.map(\.path) + torn.map(\.path), siblings: torn.map(\.path))
        try look.run(pages: pages, loader: loader)
        for key in Array(late.keys) {
            if let entry = look.entries[key], entry.metadata.type != .directory {
                late[key]?.entry = entry
            } else {
                late[key] = nil
            }
        }
        let namer = AsideNamer(target: target, loader: loader, isFresh: request.overwrite == nil && !request.resume)
        for candidate in torn {
            let key = StatePath.key(candidate.path)
            guard let entry = look.entries[key], aside[key] == nil else { continue }
            let parent = Array(candidate.path.dropLast())
            var taken = look.names[StatePath.key(parent)] ?? []
            for other in aside.values where Array(other.path.dropLast()) == parent { taken.insert(other.name) }
            if let name = try namer.name(
                candidate.name, for: entry, in: place(parent), taken: taken, atMost: Self.mostNames)
            {
                aside[key] = Aside(path: candidate.path, name: name, reasons: candidate.reasons)
            } else {
                unnamed.insert(key)
            }
        }
        if !aside.isEmpty { members = StateMembers(self.inventory, place: place) }
    }

    /// Where `path` goes in the target.
    func place(_ path: [[UInt8]]) -> [[UInt8]] {
        guard !aside.isEmpty else { return path }
        var placed = path
        for depth in path.indices {
            if let aside = aside[StatePath.key(path[...depth])] { placed[depth] = aside.name }
        }
        return placed
    }

    /// What has another name at `path` or above it.
    func aside(of path: [[UInt8]]) -> [Aside] {
        guard !aside.isEmpty else { return [] }
        return path.indices.compactMap { aside[StatePath.key(path[...$0])] }
    }

    private mutating func gatherLate() {
        var order = 0
        for (index, state) in inventory.states.enumerated() {
            for marker in state.commitMarkers {
                guard let path = StatePath.components(marker) else { continue }
                let key = StatePath.key(path)
                if late[key] == nil {
                    late[key] = Late(path: path, order: order, isTracker: false, states: [], runs: [])
                    order += 1
                }
                late[key]?.states.append(index)
            }
        }
        for (index, run) in inventory.runs.enumerated() {
            for tracker in run.trackers {
                guard let path = StatePath.components(tracker) else { continue }
                let key = StatePath.key(path)
                if late[key]?.isTracker != true {
                    let states = late[key]?.states ?? []
                    late[key] = Late(path: path, order: order, isTracker: true, states: states, runs: [])
                    order += 1
                }
                late[key]?.runs.append(index)
            }
        }
    }

    /// Torn states that have another name, those above others first. What is a part of another state stays with it.
    private func tornStates() -> [(path: [[UInt8]], name: [UInt8], reasons: [String])] {
        let states = inventory.states.compactMap { state -> (path: [[UInt8]], name: [UInt8], reasons: [String])? in
            guard state.judgement == "torn", let name = state.quarantineName.map({ Array($0.utf8) }),
                let path = StatePath.components(state.path)
            else { return nil }
            for depth in 1..<max(path.count, 1) where holdsAll(Array(path.prefix(depth))) { return nil }
            return (path, name, state.reasons)
        }
        return states.enumerated().sorted { ($0.element.path.count, $0.offset) < ($1.element.path.count, $1.offset) }
            .map(\.element)
    }

    /// Whether some state is everything below the directory `path`.
    private func holdsAll(_ path: [[UInt8]]) -> Bool {
        members.states(of: path).contains { inventory.states[$0].files == nil }
    }
}
