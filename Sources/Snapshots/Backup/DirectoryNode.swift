internal import Repository
internal import RepositoryFormat
internal import Synchronization

/// A directory that is being stored: its entries arrive in any order and leave as pages in order.
///
/// The walker announces each entry with a slot; whoever has stored an entry fills the slot. When the last one is
/// filled the directory itself is an entry of its parent. Any thread may fill; its encoder stores the pages.
final class DirectoryNode: Sendable {
    /// Where an entry belongs.
    struct Slot: Sendable {
        let node: DirectoryNode
        let index: Int
    }

    private enum Content: Sendable {
        case pending
        case entry(TreeEntry)
        case dropped
    }

    private struct State {
        /// Slots that have not left yet, from `head` on; what is before it goes now and then.
        var slots: [Content] = []
        var head = 0
        /// Slots that were removed from the front of `slots`.
        var removed = 0
        var isClosed = false
        var pages = DirectoryPages()
    }

    private let entry: TreeEntry
    private let parent: Slot?
    private let isKept: @Sendable () -> Bool
    private let finished: @Sendable (TreeEntry, SnapshotManifest.Totals) -> Void
    private let state = Mutex(State())

    /// A directory below `parent`; `finished` is called for the one without a parent. `isKept` is asked when all in it is
    /// stored, on the thread that has stored the last of it: what is not kept is dropped.
    init(
        entry: TreeEntry, parent: Slot?, isKept: @escaping @Sendable () -> Bool = { true },
        finished: @escaping @Sendable (TreeEntry, SnapshotManifest.Totals) -> Void = { _, _ in }
    ) {
        self.entry = entry
        self.parent = parent
        self.isKept = isKept
        self.finished = finished
    }

    /// A slot for the next entry, in the order of names.
    func announce() -> Slot {
        state.withLock { state in
            state.slots.append(.pending)
            return Slot(node: self, index: state.removed + state.slots.count - 1)
        }
    }

    /// No more entries follow.
    func close(_ encoder: ChunkEncoder) throws { try advance(encoder) { $0.isClosed = true } }

    /// Fills a slot; nil drops the entry. `totals` are those of what lies below a directory.
    func fill(
        _ slot: Slot, _ entry: TreeEntry?, _ encoder: ChunkEncoder,
        totals: SnapshotManifest.Totals = SnapshotManifest.Totals()
    ) throws {
        try advance(encoder) { state in
            state.slots[slot.index - state.removed] = entry.map { .entry($0) } ?? .dropped
            if let entry { state.pages.count(entry, totals) }
        }
    }

    /// Applies `change`, then stores every page that is complete now.
    private func advance(_ encoder: ChunkEncoder, _ change: (inout State) -> Void) throws {
        let done = try state.withLock { state -> (TreeEntry, SnapshotManifest.Totals)? in
            change(&state)
            loop: while state.head < state.slots.count {
                switch state.slots[state.head] {
                case .pending: break loop
                case .dropped: break
                case .entry(let entry):
                    try state.pages.add(entry, encoder)
                    state.slots[state.head] = .dropped
                }
                state.head += 1
            }
            if state.head > 1024, state.head * 2 > state.slots.count {
                state.slots.removeFirst(state.head)
                state.removed += state.head
                state.head = 0
            }
            guard state.isClosed, state.head == state.slots.count else { return nil }
            return (try state.pages.finish(entry, encoder), state.pages.totals)
        }
        guard let (entry, totals) = done else { return }
        if let parent {
            try parent.node.fill(parent, isKept() ? entry : nil, encoder, totals: totals)
        } else {
            finished(entry, totals)
        }
    }
}
