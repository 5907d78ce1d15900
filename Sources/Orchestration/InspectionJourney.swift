internal import Basics
package import Repository
package import RepositoryFormat
package import Snapshots
internal import Synchronization

/// Looks into a repository without changing it: listings, what a snapshot holds, how two differ, manifests.
///
/// Visitors run on a thread of the journey's own, one call at a time; they may block, and end the walk by throwing.
package struct InspectionJourney: Sendable {
    private let repository: Repository

    package init(repository: Repository) { self.repository = repository }

    /// All snapshots, oldest first, and what could not be read of them.
    package func snapshots() async throws(JourneyError) -> SnapshotListing {
        try await JourneyError.mapping { try await repository.listSnapshots() }
    }

    /// The snapshot that `name` means.
    package func snapshot(_ name: String) async throws(JourneyError) -> ListedSnapshot {
        try await JourneyError.mapping { try await repository.findSnapshot(name) }
    }

    /// Opens snapshots for looking inside, through one loader.
    private func trees(_ names: [String]) async throws -> [SnapshotTree] {
        var snapshots: [ListedSnapshot] = []
        for name in names { snapshots.append(try await repository.findSnapshot(name)) }
        let loader = TreeLoader(repository: repository, index: try await repository.loadIndex())
        return try snapshots.map { try SnapshotTree(snapshot: $0, loader: loader) }
    }

    /// Visits what lies at `path` (raw, relative to the snapshot's root): the entry itself when it is no directory, else
    /// what it holds, to the bottom if `recursive`. Answers the directories that are damaged.
    package func list(
        _ name: String, path: [UInt8], recursive: Bool,
        visit: @escaping @Sendable (_ path: [[UInt8]], _ entry: TreeEntry) throws -> Void
    ) async throws(JourneyError) -> [TreeWalker.Damage] {
        try await JourneyError.mapping {
            let tree = try await trees([name])[0]
            return try await Self.offload(name: "becalm-show") { check in
                let components = SnapshotTree.components(of: path)
                let start = try tree.entry(at: components)
                if let start, start.metadata.type != .directory {
                    try visit(components, start)
                    return []
                }
                var walker = TreeWalker(loader: tree.loader)
                try walker.walk(pages: start?.pages ?? tree.pages, at: components) { path, entry in
                    try check()
                    try visit(path, entry)
                    return recursive ? .descend : .skip
                }
                return walker.damage
            }
        }
    }

    /// Visits the checkpoints, models and caches that `snapshot` lists, in its order, with how each lies in the repository:
    /// nil where the tree does not hold it. Visits none where nobody looked for them when it was made.
    package func states(
        of snapshot: ListedSnapshot,
        visit: @escaping @Sendable (_ state: StateInventory.State, _ storage: StateStorage?) throws -> Void
    ) async throws(JourneyError) {
        guard let states = snapshot.manifest?.inventory?.states, !states.isEmpty else { return }
        try await JourneyError.mapping {
            let index = try await repository.loadIndex()
            let loader = TreeLoader(repository: repository, index: index)
            let tree = try SnapshotTree(snapshot: snapshot, loader: loader)
            try await Self.offload(name: "becalm-show") { check in
                for state in states {
                    try check()
                    try visit(state, try StateStorage.measure(state, in: tree, index: index, check: check))
                }
            }
        }
    }

    /// What lies below the directory `path` (components) of `snapshot`, in entries and in bytes without holes.
    package func size(of path: [String], in snapshot: Identifier) async throws(JourneyError) -> TreeSize {
        try await JourneyError.mapping {
            let tree = try await trees(["\(snapshot)"])[0]
            return try await Self.offload(name: "becalm-show") { check in
                try TreeSize.measure(path.map { Array($0.utf8) }, in: tree, check: check)
            }
        }
    }

    /// What a comparison found besides what was visited.
    package struct Comparison: Sendable {
        package var before: Identifier
        package var after: Identifier
        package var totals: SnapshotDifference.Totals
        /// Directories that were not compared.
        package var damage: [TreeWalker.Damage]
    }

    /// Visits how `after` differs from `before`.
    package func compare(
        _ before: String, _ after: String, visit: @escaping @Sendable (SnapshotDifference.Change) throws -> Void
    ) async throws(JourneyError) -> Comparison {
        try await JourneyError.mapping {
            let trees = try await trees([before, after])
            return try await Self.offload(name: "becalm-diff") { check in
                var difference = SnapshotDifference(before: trees[0].loader, after: trees[1].loader)
                try difference.run(from: trees[0].pages, to: trees[1].pages) { change in
                    try check()
                    try visit(change)
                }
                return Comparison(
                    before: trees[0].id, after: trees[1].id, totals: difference.totals, damage: difference.damage)
            }
        }
    }

    /// The form of a manifest.
    package enum ManifestForm: Sendable {
        case json
        case sha256sum
        /// Signed; links followed or refused; paths left out.
        case modelSigning(ManifestSigner, followsLinks: Bool, ignoring: [[UInt8]])
    }

    /// Writes the manifest of what lies below `root` (raw, relative to the snapshot's root) to `sink`, in pieces.
    package func manifest(
        _ name: String, root: [UInt8], form: ManifestForm, to sink: @escaping @Sendable ([UInt8]) throws -> Void
    ) async throws(JourneyError) {
        try await JourneyError.mapping {
            let tree = try await trees([name])[0]
            try await Self.offload(name: "becalm-manifest") { check in
                let manifest = try HashManifest(tree: tree, root: SnapshotTree.components(of: root), check: check)
                switch form {
                case .json: try manifest.writeJSON(to: sink)
                case .sha256sum: try manifest.writeSHA256Sums(to: sink)
                case .modelSigning(let signer, let followsLinks, let ignoring):
                    let signature = try ModelSignature(manifest, followsLinks: followsLinks, ignoring: ignoring)
                    try sink(signature.bundle(signedBy: signer.key))
                }
            }
        }
    }

    /// Runs blocking `body` on a thread of its own. It calls `check` now and then, which throws once the task that waits
    /// is cancelled.
    static func offload<R: Sendable>(
        name: String, _ body: @escaping @Sendable (_ check: @escaping @Sendable () throws -> Void) throws -> R
    ) async throws -> R {
        let flag = CancellationFlag()
        return try await withTaskCancellationHandler {
            try await BlockingBridge.offload(name: name) {
                Result { try body { if flag.isSet.load(ordering: .relaxed) { throw CancellationError() } } }
            }
        } onCancel: {
            flag.isSet.store(true, ordering: .relaxed)
        }
    }

    private final class CancellationFlag: Sendable {
        let isSet = Atomic<Bool>(false)
    }
}
