internal import Basics
internal import Repository
internal import RepositoryFormat
internal import Synchronization

/// Walks the snapshot's tree and restores it in batches: files are fetched pack by pack. What a model's server begins with
/// comes before everything else. What commits checkpoints is fetched with the rest and gets its names afterwards, in order;
/// directories get their metadata when everything in them is there.
///
/// Blocks; runs on a thread of ours.
final class RestorePass {
    /// Chunks and files in a batch: some 20 MB of plan, and ranges long enough.
    private static let batchChunks = 128 << 10
    private static let batchFiles = 4096
    /// Files in a batch that fit the limit of open files: each may be open twice from its first chunk to its last.
    private static let openBatchFiles = max(16, min(batchFiles, (SystemLimits.openFiles - 256) / 2))

    private let context: RestoreContext
    private let loader: TreeLoader
    private let reader: ChunkReader
    private let includes: [GlobPattern]
    /// Positions of the patterns that nothing has fitted so far.
    private var unmatched: Set<Int>
    private var batch: [RestoreFile] = []
    private var batchChunkCount = 0
    private var directories: [(path: [[UInt8]], metadata: FileMetadata)] = []
    private var links: [(path: [[UInt8]], first: [[UInt8]], entry: TreeEntry)] = []
    private var firstNames: [Link: [[UInt8]]] = [:]
    private var late: [LateEntry] = []
    /// What became of entries that were visited before all others, by their paths in the snapshot.
    private var early: [[UInt8]: TreeWalker.Step] = [:]
    /// Whether a batch is read in the order of its files, not of the packs.
    private var readsInOrder = false

    private struct Link: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    /// What waits for everything else.
    private struct LateEntry {
        let plan: RestorePlan.Late
        let path: [[UInt8]]
        let entry: TreeEntry
        /// With its content, under its temporary name; nil for what is made when its turn comes.
        let file: RestoreFile?
    }

    /// An entry in the target.
    struct Place: Sendable {
        let path: [[UInt8]]
        let entry: TreeEntry
    }

    /// Paths in the target of what `commit` writes.
    private(set) var held = Set<[UInt8]>()
    /// The regular files that `commit` has written.
    private(set) var committed: [Place] = []

    /// `own` is what the target itself is to be like; nil to leave it as it is.
    init(context: RestoreContext, index: RepositoryIndex, own: FileMetadata?) {
        self.context = context
        directories = own.map { [([], $0)] } ?? []
        loader = TreeLoader(repository: context.repository, index: index)
        reader = ChunkReader(repository: context.repository, index: index)
        includes = context.selection == nil ? context.request.includes.map { GlobPattern($0) } : []
        unmatched = Set(includes.indices)
    }

    /// Restores everything below these pages but what `commit` writes.
    func restore(pages: [ChunkID]) throws {
        try withdraw()
        tellTornTarget()
        try restoreEarly(pages)
        var walker = TreeWalker(loader: loader)
        try walker.walk(pages: pages) { path, entry in
            try context.check()
            if let step = early.isEmpty ? nil : early[StatePath.key(path)] { return step }
            return try visit(path, entry)
        }
        try restoreBatch()
        if context.selection == nil {
            context.matchedAllBut(unmatched.sorted().map { context.request.includes[$0] })
        }
        for damage in walker.damage { context.damaged(context.plan.place(damage.path), damage.error) }
        makeLinks()
        // A marker must not reach the disk before what it stands for.
        if !late.isEmpty || context.request.verify { try context.target.root.synchronizeFileSystem() }
    }

    /// Writes what commits checkpoints, in order, then what runs resume from; then the directories' metadata.
    func commit() throws {
        var withheld: [Int: [String]] = [:]
        var isAtTrackers = false
        for item in late.sorted(by: { $0.plan.order < $1.plan.order }) {
            try context.check()
            if item.plan.isTracker, !isAtTrackers {
                isAtTrackers = true
                try context.target.root.synchronizeFileSystem()
            }
            if let state = brokenState(item.plan) {
                try attempt(item.path) { try item.file?.discard() }
                withheld[state, default: []].append(StatePath.text(item.path))
            } else {
                try publish(item)
            }
        }
        late = []
        for (state, names) in withheld.sorted(by: { $0.key < $1.key }) { tellWithheld(state, names) }
        tellMoved()
        for directory in directories.reversed() {
            do {
                let handle = try context.target.directory(directory.path, create: true)
                context.remark(directory.path, context.metadata.apply(directory.metadata, to: handle))
            } catch {
                context.failed(directory.path, error)
            }
        }
        try context.target.root.synchronizeFileSystem()
    }

    /// Restores what servers of the snapshot's models begin with, in order: reads only the directories that it lies in.
    private func restoreEarly(_ pages: [ChunkID]) throws {
        let plan = context.plan
        guard var files = EarlyFiles(plan.inventory, late: Set(plan.late.keys)) else { return }
        var walker = TreeWalker(loader: loader)
        try walker.walk(pages: pages) { path, entry in
            try context.check()
            guard entry.metadata.type == .directory else {
                files.take(path, entry)
                return .skip
            }
            guard files.looksInto(path) else { return .skip }
            let step = try visit(path, entry)
            early[StatePath.key(path)] = step
            return step
        }
        // Damage is found again, and told, by the walk of everything.
        readsInOrder = true
        for group in files.groups() {
            for item in group {
                try context.check()
                early[StatePath.key(item.path)] = try visit(item.path, item.entry)
            }
            try restoreBatch()
        }
        readsInOrder = false
    }

    /// Whether the entry is wanted; takes note of the patterns that it fits.
    private func isIncluded(_ path: [[UInt8]]) -> Bool {
        var isIncluded = includes.isEmpty
        for (index, pattern) in includes.enumerated() where !isIncluded || unmatched.contains(index) {
            guard pattern.matchesOrContains(path) else { continue }
            isIncluded = true
            unmatched.remove(index)
        }
        return isIncluded
    }

    private func visit(_ source: [[UInt8]], _ stored: TreeEntry) throws -> TreeWalker.Step {
        let isDirectory = stored.metadata.type == .directory
        if let selection = context.selection {
            let part = selection.part(of: source, stored)
            if part == .otherTracker { tellOtherTracker(source, selection) }
            guard part == .within || part == .above && isDirectory else { return .skip }
        } else {
            guard isIncluded(source) else { return isDirectory ? .descend : .skip }
        }
        let path = context.plan.place(source)
        var entry = stored
        entry.name = path[path.count - 1]
        context.usesNames(of: source)
        if context.plan.unnamed.contains(StatePath.key(source)) {
            context.remark(path, "is torn, and keeps its name, for there is no other that is free")
        }
        if isDirectory {
            // An empty one tells nothing, and whoever is not its owner may not even look into the target's.
            if RestoreTarget.isFileSystemsOwn(path, entry), entry.pages.isEmpty,
                try context.target.root.type(of: entry.name) == .directory
            {
                return .skip
            }
            return try attempt(path) { try makeDirectory(path, entry) } ? .descend : .skip
        }
        if let plan = context.plan.late[StatePath.key(source)] {
            try attempt(path) { try hold(plan, path, entry) }
        } else {
            try attempt(path) { try restore(path, entry) }
        }
        return .skip
    }

    /// Runs `body`, whose failure is the path's alone: noted, and answered with false.
    @discardableResult
    private func attempt(_ path: [[UInt8]], _ body: () throws -> Void) throws -> Bool {
        do {
            try body()
            return true
        } catch let error as SnapshotError {
            if error.code == .noSpace { throw error }
            context.failed(path, error)
        } catch let error as RepositoryError
            where error.code == .damaged || error.code == .notFound || error.isMissingObject
        {
            context.damaged(path, error)
        }
        return false
    }

    private func makeDirectory(_ path: [[UInt8]], _ entry: TreeEntry) throws {
        let parent = try context.target.directory(Array(path.dropLast()), create: true)
        if let there = try parent.type(of: entry.name), there != .directory {
            guard context.request.overwrite == .always || context.request.overwrite == .ifChanged else {
                throw SnapshotError(
                    .alreadyExists, "\(there.text) is in the way of a directory: choose --overwrite always")
            }
            try parent.remove(name: entry.name)
        }
        _ = try context.target.directory(path, create: true)
        directories.append((path, entry.metadata))
    }

    /// Restores an entry that is no directory, or puts it in the batch.
    private func restore(_ path: [[UInt8]], _ entry: TreeEntry) throws {
        let metadata = entry.metadata
        context.progress.update { $0.current = PathText.display(Array(path.joined(separator: [0x2f]))) }
        if metadata.linkCount > 1 {
            let key = Link(device: metadata.device, inode: metadata.inode)
            if let first = firstNames[key] {
                links.append((path, first, entry))
                return
            }
            firstNames[key] = path
        }
        let directory = try context.target.directory(Array(path.dropLast()), create: true)
        let there = try directory.type(of: entry.name)
        if there != nil, context.request.overwrite == .never, !context.request.resume { return context.left(path) }
        if metadata.type == .regular {
            let inPlace = there == .regular && (context.request.resume || context.request.overwrite == .ifChanged)
            if inPlace { try checkOurs(directory, entry, .regular) }
            if let there, !inPlace { try clear(directory, entry, there) }
            _ = try add(path, entry, inPlace: inPlace && isUpdatable(directory, entry), isHeld: false)
            return
        }
        if let there { try clear(directory, entry, there) }
        let remark: RestoreRemark? =
            if metadata.type == .symbolicLink {
                try directory.makeSymbolicLink(name: entry.name, target: metadata.linkTarget)
            } else {
                try directory.makeSpecialFile(name: entry.name, metadata: metadata)
            }
        if let remark { return context.unmade(path, remark) }
        context.restored(path, context.metadata.apply(metadata, to: entry.name, in: directory))
    }

    /// Refuses a list of pieces that is not as long as the file: whoever wrote it lied or erred.
    private func check(_ items: [ContentItem], of entry: TreeEntry) throws(RepositoryError) {
        var length: UInt64 = 0
        for item in items {
            let (sum, overflow) = length.addingReportingOverflow(item.length)
            guard !overflow else { throw RepositoryError(.damaged, "its pieces are longer than any file") }
            length = sum
        }
        guard length == entry.metadata.size else {
            throw RepositoryError(
                .damaged, "its pieces have \(length) bytes together, and the file \(entry.metadata.size)")
        }
    }

    /// A file with other names may lie outside of the target as well: it is replaced, not written to.
    private func isUpdatable(_ directory: DirectoryHandle, _ entry: TreeEntry) -> Bool {
        if (try? FileWriter.openExisting(in: directory, name: entry.name)) != nil { return true }
        // Unreadable or linked elsewhere: a new file takes its place when it is complete.
        return false
    }

    private func clear(_ directory: DirectoryHandle, _ entry: TreeEntry, _ there: RepositoryFormat.FileType)
        throws(SnapshotError)
    {
        try checkOurs(directory, entry, there)
        if there == .directory {
            try directory.removeDirectory(name: entry.name)
        } else {
            try directory.remove(name: entry.name)
        }
    }

    /// Refuses to touch what is there, unless it was asked for, or an interrupted run of this restore has left it: a file
    /// gets its name, size and time when it is complete, never before.
    private func checkOurs(_ directory: DirectoryHandle, _ entry: TreeEntry, _ there: RepositoryFormat.FileType)
        throws(SnapshotError)
    {
        if context.request.overwrite == .always || context.request.overwrite == .ifChanged { return }
        let ways = "choose --overwrite always, if-changed or never"
        guard context.request.resume else {
            throw SnapshotError(
                .alreadyExists, "is there already: \(ways), or --resume to go on with an interrupted restore")
        }
        let found = try directory.metadata(
            of: entry.name, owners: context.metadata.owners, includingExtendedAttributes: false)
        guard there == found.type, RestoreContext.isSame(found, entry.metadata) else {
            throw SnapshotError(
                .alreadyExists, "is there, and no earlier run of this restore has left it: \(ways)")
        }
    }

    private func makeLinks() {
        for link in links { makeLink(link.path, link.first, link.entry) }
        links = []
    }

    private func makeLink(_ path: [[UInt8]], _ first: [[UInt8]], _ entry: TreeEntry) {
        do {
            let directory = try context.target.directory(Array(path.dropLast()), create: true)
            guard let name = path.last, let firstName = first.last else { return }
            if let there = try directory.type(of: name) {
                if context.request.overwrite == .never, !context.request.resume { return context.left(path) }
                try clear(directory, entry, there)
            }
            let source = try context.target.directory(Array(first.dropLast()), create: false)
            if let remark = try directory.makeHardLink(name: name, to: firstName, in: source) {
                return context.unmade(path, remark)
            }
            context.restored(path, [])
        } catch {
            context.failed(path, error)
        }
    }

    // MARK: What comes last

    /// Takes the names away from what is written last, where it is there from before: until the rest is as it should be
    /// the checkpoint must not count as committed. What the target has and the snapshot has not is never touched.
    private func withdraw() throws {
        guard context.request.resume || context.request.overwrite != nil else { return }
        if context.request.overwrite == .never, !context.request.resume { return }
        for late in context.plan.late.values.sorted(by: { $0.order > $1.order }) {
            guard var entry = late.entry, context.wants(late.path, entry) else { continue }
            let path = context.plan.place(late.path)
            entry.name = path[path.count - 1]
            do {
                let directory = try context.target.directory(Array(path.dropLast()), create: false)
                guard let there = try directory.type(of: entry.name), there != .directory else { continue }
                try checkOurs(directory, entry, there)
                let keepsContent =
                    there == .regular && entry.metadata.type == .regular && context.request.overwrite != .always
                if keepsContent, isUpdatable(directory, entry) {
                    try directory.rename(entry.name, to: context.temporaryName(for: path))
                } else {
                    try directory.remove(name: entry.name)
                }
            } catch {
                // Its directory is missing, or what is there is not ours: restoring it tells of that.
                if error.code == .noSpace { throw error }
            }
        }
    }

    /// Restores the content of an entry that is written last, as far as that can be done without its name.
    private func hold(_ plan: RestorePlan.Late, _ path: [[UInt8]], _ entry: TreeEntry) throws {
        var file: RestoreFile?
        if entry.metadata.type == .regular, entry.metadata.linkCount <= 1 {
            context.progress.update { $0.current = StatePath.text(path) }
            let directory = try context.target.directory(Array(path.dropLast()), create: true)
            if let there = try directory.type(of: entry.name) {
                if context.request.overwrite == .never, !context.request.resume { return context.left(path) }
                try clear(directory, entry, there)
            }
            file = try add(path, entry, inPlace: false, isHeld: true)
        }
        held.insert(StatePath.key(path))
        late.append(LateEntry(plan: plan, path: path, entry: entry, file: file))
    }

    private func publish(_ item: LateEntry) throws {
        var isDone = true
        if let file = item.file {
            isDone = file.publish()
        } else {
            isDone = try attempt(item.path) { try restore(item.path, item.entry) }
            try restoreBatch()
            makeLinks()
        }
        if isDone, item.entry.metadata.type == .regular { committed.append(Place(path: item.path, entry: item.entry)) }
    }

    /// A state that must not be committed by `item`; nil when there is none.
    private func brokenState(_ item: RestorePlan.Late) -> Int? {
        guard !context.request.commitsDamaged else { return nil }
        var states = Set(item.states)
        for run in item.runs {
            guard let path = context.plan.inventory.runs[run].resumesFrom else { continue }
            for (index, state) in context.plan.inventory.states.enumerated() where state.path == path {
                states.insert(index)
            }
        }
        return states.sorted().first { context.broken($0) != nil }
    }

    private func tellWithheld(_ index: Int, _ names: [String]) {
        guard let path = StatePath.directory(context.plan.inventory.states[index].path),
            let reason = context.broken(index)
        else { return }
        let more = names.count > 3 ? " and \(names.count - 3) more" : ""
        context.withheld(
            context.plan.place(path),
            "not committed, for \(reason) could not be restored: left out \(names.prefix(3).joined(separator: ", "))\(more); restore it once more when that is mended, or another checkpoint"
        )
    }

    /// Says which jobs would look for what has another name now.
    private func tellMoved() {
        for run in context.plan.inventory.runs {
            guard let resumed = run.resumesFrom, let directory = StatePath.directory(run.path),
                let path = StatePath.components(resumed), let aside = context.plan.aside(of: path).last,
                context.outcome.setAside.contains(where: {
                    $0.newPath == StatePath.text(context.plan.place(aside.path))
                })
            else { continue }
            let text = StatePath.text(path)
            let newest = run.newestComplete
            // A tracker still says the old name; without one a job goes by what is there.
            let remark =
                run.trackers.isEmpty
                ? "a job would have resumed from \(text), which is set aside: "
                    + (newest.map { "it finds \($0) now" } ?? "it starts anew now")
                : "a job would resume from \(text), which is set aside: name another one to it"
                    + (newest.map { "; the newest complete one is \($0)" } ?? "")
            context.remark(context.plan.place(directory), remark)
        }
    }

    /// Says that all that comes into the target is torn: there is no other name to set it aside under.
    private func tellTornTarget() {
        guard context.selection == nil, context.request.setsAside else { return }
        for state in context.plan.inventory.states where state.path.isEmpty && state.judgement == "torn" {
            let reason = state.reasons.first.map { ": \($0)" } ?? ""
            context.remark([], "this was torn when it was backed up\(reason); have no job resume from it")
        }
    }

    private func tellOtherTracker(_ path: [[UInt8]], _ selection: CheckpointSelection) {
        context.remark(
            path,
            "left out, for it names another checkpoint: tell the job by name to resume from \(StatePath.text(selection.path))"
        )
    }

    // MARK: Content

    /// Puts a regular file in the batch.
    private func add(_ path: [[UInt8]], _ entry: TreeEntry, inPlace: Bool, isHeld: Bool) throws -> RestoreFile {
        let items = try loader.items(of: entry.content ?? .inline([]))
        try check(items, of: entry)
        let file = RestoreFile(
            path: path, entry: entry, items: items, inPlace: inPlace, isHeld: isHeld, context: context)
        batch.append(file)
        batchChunkCount += items.count
        if batchChunkCount >= Self.batchChunks || batch.count >= Self.openBatchFiles { try restoreBatch() }
        return file
    }

    private func restoreBatch() throws {
        let files = batch
        batch = []
        batchChunkCount = 0
        guard !files.isEmpty else { return }
        let places = try prepare(files)
        let ids = Array(places.keys)
        let context = context
        let order = readsInOrder ? Self.order(of: files, places) : [:]
        let failures = try reader.read(
            ids, kind: .data, place: { places[$0]?.first?.offset ?? 0 }, order: { order[$0] ?? 0 }
        ) { id, bytes in
            try context.check()
            for place in places[id] ?? [] { try place.file.write(bytes, at: place.offset) }
        }
        for failure in failures {
            for place in places[failure.id] ?? [] { try place.file.lose(failure.error, at: place.offset) }
        }
    }

    /// Of each chunk the first file that it goes to.
    private static func order(
        of files: [RestoreFile], _ places: [ChunkID: [RestoreFile.Place]]
    ) -> [ChunkID: Int] {
        var positions: [ObjectIdentifier: Int] = [:]
        for (position, file) in files.enumerated() { positions[ObjectIdentifier(file)] = position }
        return places.mapValues { $0.compactMap { positions[ObjectIdentifier($0.file)] }.min() ?? 0 }
    }

    /// Looks at what is there and gathers what must be fetched; files that need nothing are completed.
    private func prepare(_ files: [RestoreFile]) throws -> [ChunkID: [RestoreFile.Place]] {
        let gathered = Mutex<[ChunkID: [RestoreFile.Place]]>([:])
        let next = Atomic<Int>(0)
        let fatal = Mutex<(any Error)?>(nil)
        let context = context
        let threads = min(files.count, context.repository.options.processors)
        WorkerThreads(count: threads, name: "becalm-compare") { _ in
            let buffer = Buffer(capacity: 64 << 10)
            while fatal.withLock({ $0 == nil }) {
                let position = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard position < files.count else { return }
                let file = files[position]
                do {
                    try context.check()
                    let wanted = try file.prepare(buffer)
                    gathered.withLock { gathered in
                        for (id, offset) in wanted {
                            gathered[id, default: []].append(.init(file: file, offset: offset))
                        }
                    }
                } catch let error as SnapshotError where error.code != .noSpace {
                    file.fail(error)
                    context.failed(file.path, error)
                    continue
                } catch {
                    fatal.withLock { $0 = $0 ?? error }
                    return
                }
                do { try file.release() } catch { fatal.withLock { $0 = $0 ?? error } }
            }
        }.join()
        if let error = fatal.withLock({ $0 }) { throw error }
        return gathered.withLock { $0 }
    }
}
