internal import Basics
internal import Chunking
internal import Logging
internal import Repository
internal import RepositoryFormat
internal import Synchronization

/// Reads the sources once and stores what is new: one walker and as many workers as there are processors.
///
/// Blocks; runs on a thread of ours.
struct BackupPass {
    let context: BackupContext
    let parentPages: [ChunkID]
    let loader: TreeLoader

    /// What the pass has stored.
    struct Outcome: Sendable {
        var root: TreeEntry
        var totals: SnapshotManifest.Totals
        var sourcesFound: Int
    }

    /// Runs the pass and finishes the session; `bases` finds what new files may resemble. On an interruption what is
    /// uploaded is published, so that the next run goes on from there.
    func run(bases: BaseFinder?) throws -> Outcome {
        let session = context.session
        let plan = session.repository.plan
        let scheduler = BackupScheduler(
            stripBytes: plan.stripBytes, bufferLimit: max(plan.strips, context.parameters.maximum / plan.stripBytes + 4)
        )
        let outcome = Mutex<(TreeEntry, SnapshotManifest.Totals)?>(nil)
        let failure = Mutex<(any Error)?>(nil)
        let fail: @Sendable (any Error) -> Void = { error in
            failure.withLock { $0 = $0 ?? error }
            scheduler.abandon()
        }
        let workers = WorkerThreads(count: max(1, session.repository.options.processors), name: "becalm-backup") { _ in
            do {
                try work(scheduler)
            } catch {
                fail(error)
            }
        }
        let root = DirectoryNode(
            entry: TreeEntry(name: Array("root".utf8), metadata: FileMetadata(type: .directory, permissions: 0)),
            parent: nil,
            finished: { entry, totals in outcome.withLock { $0 = (entry, totals) } })
        var found = 0
        do {
            let encoder = try ChunkEncoder(session: session)
            let walker = SourceWalker(
                context: context, scheduler: scheduler, encoder: encoder, loader: loader, bases: bases)
            found = try walker.walk(into: root, parentPages: parentPages)
            workers.join()
            try encoder.flush()
        } catch {
            fail(error)
            workers.join()
        }
        if let error = failure.withLock({ $0 }) {
            try keepWhatIsDone(error)
            throw error
        }
        try session.finish()
        guard let (entry, totals) = outcome.withLock({ $0 }) else {
            throw RepositoryError(.failed, "the backup ended without a tree")
        }
        return Outcome(root: entry, totals: totals, sourcesFound: found)
    }

    /// After an interruption by the user: uploads and publishes what there is, and notes how far large files have come.
    private func keepWhatIsDone(_ error: any Error) throws {
        guard context.progress.isCancelled else { return }
        do {
            try context.session.finish()
            try context.journal.write()
        } catch {
            context.session.repository.options.logger.warning(
                "what this run has stored could not all be kept: \(error)")
        }
    }

    /// A file that was small when it was looked at.
    private func store(outgrown file: SmallFile, _ scheduler: BackupScheduler, _ encoder: ChunkEncoder) throws {
        do throws(SnapshotError) {
            let large = try LargeFile(
                directory: file.directory, name: file.name, entry: file.entry, slot: file.slot, context: context,
                scheduler: scheduler)
            _ = try large.begin(encoder) {
                scheduler.add(outgrown: large)
                return true
            }
        } catch {
            try context.leaveOut(
                file.directory.path(of: file.name), error, file.slot, file.entry.metadata, encoder)
        }
    }

    private func work(_ scheduler: BackupScheduler) throws {
        let encoder = try ChunkEncoder(session: context.session)
        let buffer = Buffer(capacity: Int(SmallFile.limit))
        while let job = scheduler.next() {
            defer { scheduler.finished() }
            try context.check()
            switch job {
            case .chunks(let works):
                try LargeFile.store(works, encoder)
                try context.journal.writeIfDue()
            case .hashed(let work, let digest):
                try work.file.store(work, digest, encoder)
                try context.journal.writeIfDue()
            case .hash(let file): try file.hash(encoder)
            case .strip(let file, let plan, let strip): scheduler.add(try file.read(plan, into: strip))
            case .small(let files):
                for file in files {
                    try context.check()
                    if try !file.store(context, encoder, buffer) { try store(outgrown: file, scheduler, encoder) }
                }
            }
        }
        try encoder.flush()
    }
}
