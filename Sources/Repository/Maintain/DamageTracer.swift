internal import Basics
internal import RepositoryFormat
internal import Synchronization

/// Finds the files that damage hits: one walk over the snapshots, with directories that are sound passed over when they
/// come again.
final class DamageTracer: Sendable {
    /// What one object's damage hits.
    struct Hits: Sendable {
        var snapshots: [Identifier] = []
        var files: [String] = []
        var fileCount: UInt64 = 0
        /// Paths named already, so that many snapshots of one file name it once.
        fileprivate var seen: Set<[UInt8]> = []
    }

    private struct State {
        var clean: Set<ChunkID> = []
        var hits: [String: Hits] = [:]
    }

    private let loader: TreeLoader
    private let maximumFiles: Int
    private let displayPath: @Sendable ([UInt8]) -> String
    /// The object to blame when a chunk cannot be read, else nil.
    private let blame: @Sendable (TreeMarker.Key) -> String?
    private let state = Mutex(State())

    init(
        loader: TreeLoader, maximumFiles: Int, displayPath: @escaping @Sendable ([UInt8]) -> String,
        blame: @escaping @Sendable (TreeMarker.Key) -> String?
    ) {
        self.loader = loader
        self.maximumFiles = maximumFiles
        self.displayPath = displayPath
        self.blame = blame
    }

    /// Hits by object, of the snapshots traced so far.
    var hits: [String: Hits] { state.withLock { $0.hits } }

    /// A directory page that is being looked through.
    private struct Frame {
        var page: ChunkID
        var path: [UInt8]
        var entries: [TreeEntry]
        var entry = 0
        /// The next of the present entry's own pages.
        var below = 0
        var isClean = true
    }

    /// Follows a snapshot's tree, of any depth. Blocks; call from a thread of ours.
    ///
    /// Throws what the store throws; damage that shows only now is a hit too.
    func trace(_ snapshot: Identifier, roots: [ChunkID], _ interruption: Interruption) throws(RepositoryError) {
        for root in roots {
            var frames: [Frame] = []
            _ = try enter(root, [], snapshot, &frames)
            while let last = frames.indices.last {
                try interruption.check()
                guard frames[last].entry < frames[last].entries.count else {
                    let done = frames.removeLast()
                    if done.isClean {
                        state.withLock { _ = $0.clean.insert(done.page) }
                    } else if last > 0 {
                        frames[last - 1].isClean = false
                    }
                    continue
                }
                let entry = frames[last].entries[frames[last].entry]
                let path = frames[last].path.isEmpty ? entry.name : frames[last].path + [0x2f] + entry.name
                if frames[last].below < entry.pages.count {
                    frames[last].below += 1
                    if !(try enter(entry.pages[frames[last].below - 1], path, snapshot, &frames)) {
                        frames[last].isClean = false
                    }
                    continue
                }
                if let content = entry.content, let object = try culprit(of: content) {
                    hit(object, path, snapshot)
                    frames[last].isClean = false
                }
                frames[last].entry += 1
                frames[last].below = 0
            }
        }
    }

    /// Opens a page unless it is known to be sound. False when it cannot be read.
    private func enter(
        _ page: ChunkID, _ path: [UInt8], _ snapshot: Identifier, _ frames: inout [Frame]
    ) throws(RepositoryError) -> Bool {
        if state.withLock({ $0.clean.contains(page) }) { return true }
        if let object = blame(.init(id: page, kind: .tree)) {
            hit(object, path + [0x2f], snapshot)
            return false
        }
        do {
            frames.append(Frame(page: page, path: path, entries: try loader.page(page)))
            return true
        } catch {
            guard error.code == .damaged || error.code == .notFound || error.isMissingObject else { throw error }
            hit(ObjectNames.segments, path + [0x2f], snapshot)
            return false
        }
    }

    /// The first object to blame for a file, or nil when it is sound.
    private func culprit(of content: FileContent) throws(RepositoryError) -> String? {
        if case .lists(let references) = content {
            for reference in references {
                if let object = blame(.init(id: reference.id, kind: .tree)) { return object }
            }
        }
        let items: [ContentItem]
        do {
            items = try loader.items(of: content)
        } catch {
            guard error.code == .damaged || error.code == .notFound || error.isMissingObject else { throw error }
            return ObjectNames.segments
        }
        for item in items {
            if case .chunk(let id, _) = item, let object = blame(.init(id: id, kind: .data)) { return object }
        }
        return nil
    }

    private func hit(_ object: String, _ path: [UInt8], _ snapshot: Identifier) {
        state.withLock { state in
            var hits = state.hits[object] ?? Hits()
            if hits.snapshots.last != snapshot { hits.snapshots.append(snapshot) }
            if hits.seen.insert(path).inserted {
                hits.fileCount += 1
                if hits.files.count < maximumFiles { hits.files.append(displayPath(path)) }
            }
            state.hits[object] = hits
        }
    }
}

extension VerifyRun {
    /// Tells for each damaged object which snapshots and files it hits.
    mutating func traceDamage(_ survey: RepositorySurvey, _ chosen: [ListedSnapshot]) async throws {
        guard
            !bad.isEmpty || !badCopies.isEmpty || !shortened.isEmpty
                || report.problems.contains(where: { $0.kind == .pack && !$0.isHarmless })
        else { return }
        let loader = TreeLoader(repository: repository, index: survey.index(condemned: survey.condemned))
        let known = self
        let tracer = DamageTracer(
            loader: loader, maximumFiles: options.maximumFiles, displayPath: options.displayPath,
            blame: { known.blame($0, survey) })
        let progress = progress
        try await Interruption.offload(name: "becalm-trace") { interruption in
            for (number, snapshot) in chosen.enumerated() {
                progress(MaintenanceProgress(.tracing, done: UInt64(number), total: UInt64(chosen.count)))
                guard let roots = try? snapshot.manifest?.rootPages() else { continue }
                try tracer.trace(snapshot.id, roots: roots, interruption)
            }
        }
        for (object, hits) in tracer.hits {
            if !report.problems.contains(where: { $0.object == object }) {
                add(VerifyProblem(object: object, kind: .segment, message: "\(object) lacks chunks of snapshots"))
            }
            for index in report.problems.indices where report.problems[index].object == object {
                report.problems[index].snapshots = hits.snapshots
                report.problems[index].files = hits.files
                report.problems[index].fileCount = hits.fileCount
                report.problems[index].isHarmless = false
            }
        }
        // A pack that no snapshot looked at needs may be as broken as it likes.
        for index in report.problems.indices
        where report.problems[index].kind == .pack && tracer.hits[report.problems[index].object] == nil {
            report.problems[index].isHarmless = true
        }
    }
}
