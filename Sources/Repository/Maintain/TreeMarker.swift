internal import Basics
internal import RepositoryFormat
internal import Synchronization

/// Walks the trees of snapshots and marks every chunk that they refer to, each tree chunk once.
///
/// It goes breadth by breadth: up to `batch` tree chunks are read together, sorted by where they lie, so that a walk over
/// a remote store is few long reads. Memory: the marks, one batch, and the chunks that are known but not yet read.
final class TreeMarker: Sendable {
    /// A chunk and what it holds.
    struct Key: Hashable, Sendable {
        var id: ChunkID
        var kind: ChunkKind
    }

    /// A reference from a tree.
    private struct Reference {
        var key: Key
        /// Whether it is a part of a file's list of chunks, not a directory page.
        var isList = false
        /// Whether a difference needs it: then only a copy that is whole is of use.
        var isBase = false
        /// Bytes that the reference says the chunk has; nil when it does not say.
        var length: UInt32?
    }

    /// What the walk found.
    struct Outcome: Sendable {
        /// Referred to and in no pack of the store.
        var missing: Set<Key> = []
        /// Tree chunks that could not be read or understood: what they refer to is not known.
        var unreadable: [ChunkID: RepositoryError] = [:]
        /// Referred to with another length than the index has.
        var mismatched: Set<Key> = []
        /// Referred to and in condemned packs only: what must be copied before those go.
        var condemned: [ChunkCopier.Request] = []
        /// Distinct tree chunks read.
        var trees: UInt64 = 0
        /// Distinct data chunks referred to.
        var data: UInt64 = 0
    }

    private struct State {
        var pending: [(id: ChunkID, isList: Bool)] = []
        var outcome = Outcome()
    }

    private static let batch = 4096

    private let catalog: ChunkCatalog
    private let reader: ChunkReader
    private let state = Mutex(State())
    let marks: ChunkMarks

    init(catalog: ChunkCatalog, reader: ChunkReader) {
        self.catalog = catalog
        self.reader = reader
        marks = ChunkMarks(catalog: catalog)
    }

    /// What was found by all walks so far.
    var outcome: Outcome { state.withLock { $0.outcome } }

    /// Marks everything below these directory pages. Blocks; call from a thread of ours.
    ///
    /// Throws what the store throws, `.cancelled`; damage is told in the outcome.
    func mark(
        roots: [ChunkID], _ interruption: Interruption, _ progress: MaintenanceProgress.Handler
    ) throws(RepositoryError) {
        note(roots.map { Reference(key: Key(id: $0, kind: .tree)) })
        while true {
            try interruption.check()
            let batch = state.withLock { state in
                let batch = Array(state.pending.suffix(Self.batch))
                state.pending.removeLast(batch.count)
                return batch
            }
            guard !batch.isEmpty else { return }
            let isList = Dictionary(batch.map { ($0.id, $0.isList) }, uniquingKeysWith: { first, _ in first })
            let failures = try reader.read(batch.map(\.id), kind: .tree) { id, bytes in
                do {
                    self.note(try Self.references(in: Array(bytes), isList: isList[id] ?? false))
                    self.state.withLock { $0.outcome.trees += 1 }
                } catch {
                    self.state.withLock { $0.outcome.unreadable[id] = RepositoryError(error) }
                }
            }
            for failure in failures {
                if failure.error.code == .newerVersion || failure.error.code == .notPermitted { throw failure.error }
                state.withLock { $0.outcome.unreadable[failure.id] = failure.error }
            }
            progress(MaintenanceProgress(.walking, done: outcome.trees))
        }
    }

    private static func references(in bytes: [UInt8], isList: Bool) throws(FormatError) -> [Reference] {
        if isList { return references(to: try ContentList.decode(bytes)) }
        var references: [Reference] = []
        for entry in try DirectoryPage.decode(bytes) {
            references += entry.pages.map { Reference(key: Key(id: $0, kind: .tree)) }
            switch entry.content {
            case .inline(let items): references += Self.references(to: items)
            case .lists(let lists):
                references += lists.map { Reference(key: Key(id: $0.id, kind: .tree), isList: true) }
            case nil: break
            }
        }
        return references
    }

    private static func references(to items: [ContentItem]) -> [Reference] {
        items.compactMap { item in
            guard case .chunk(let id, let length) = item else { return nil }
            return Reference(key: Key(id: id, kind: .data), length: length)
        }
    }

    private func note(_ references: [Reference]) {
        var references = references
        while !references.isEmpty { references = mark(references) }
    }

    /// Marks the chunks and answers the bases that they need, which are pinned by them.
    private func mark(_ references: [Reference]) -> [Reference] {
        let found = references.map { reference in
            reference.isBase
                ? catalog.wholePlace(of: reference.key.id, kind: reference.key.kind)
                : catalog.place(of: reference.key.id, kind: reference.key.kind)
        }
        let places = found.compactMap { $0 }
        var isNew = marks.insert(places).makeIterator()
        return state.withLock { state in
            var bases: [Reference] = []
            for (reference, place) in zip(references, found) {
                guard let place else {
                    state.outcome.missing.insert(reference.key)
                    // Its base may come back: what rests on it stays.
                    bases += keepAll(of: reference.key, &state)
                    continue
                }
                if let length = reference.length, length != place.rawLength {
                    state.outcome.mismatched.insert(reference.key)
                }
                guard isNew.next() == true else { continue }
                bases += rest(of: place, reference.key, &state)
                // What will go may turn out to be damaged when it is to be copied: then the other copies count.
                if catalog.restsOnCondemned(place, kind: reference.key.kind) {
                    bases += keepAll(of: reference.key, &state)
                }
                if reference.key.kind == .tree {
                    state.pending.append((reference.key.id, reference.isList))
                } else {
                    state.outcome.data += 1
                }
            }
            return bases
        }
    }

    /// Notes what a place that was just marked asks for: a copy elsewhere, and the base that it needs.
    private func rest(of place: ChunkCatalog.Place, _ key: Key, _ state: inout State) -> [Reference] {
        if place.standing == .condemned {
            state.outcome.condemned.append(.init(key: key, isWhole: !place.hasBase))
        }
        guard let base = place.base else { return [] }
        return [Reference(key: Key(id: base, kind: key.kind), isBase: true, length: place.rawLength)]
    }

    /// Marks every copy of the chunk that is there, and answers the bases that they need and that are there.
    private func keepAll(of key: Key, _ state: inout State) -> [Reference] {
        let places = catalog.places(of: key.id, kind: key.kind).filter { $0.standing != .gone }
        var bases: [Reference] = []
        for (place, isNew) in zip(places, marks.insert(places)) where isNew {
            bases += rest(of: place, key, &state).filter { catalog.wholePlace(of: $0.key.id, kind: $0.key.kind) != nil }
        }
        return bases
    }
}
