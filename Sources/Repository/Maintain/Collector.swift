internal import Basics
internal import Logging
internal import ObjectStorage
internal import RepositoryFormat

/// Collects garbage: removes packs that no snapshot refers to, while writers, readers and other collectors work on.
///
/// The rules that make this safe without locks (Format.md, "Collection"):
///
/// - Snapshots refer to chunks, never to packs. A writer looks at the condemned packs before it puts a manifest, and looks
///   again afterwards, at the packs themselves too; when one that it relies on is condemned or gone, it withdraws the
///   snapshot and stores those chunks anew.
/// - **Condemning is final.** A pack whose name is in a stored `CondemnedRecord` will be removed, and nobody ever takes it
///   back. What turns out to be referred to and lies in condemned packs only is copied out first ("rescued"); the
///   pack goes all the same. So a collector that was stopped at any point and wakes up years later still does no harm:
///   what it removes has been doomed since, and everybody treated it so.
/// - A pack is removed only after a walk over the snapshots that were listed *after* its record was stored, and after what
///   that walk found in condemned packs only was rescued. For a snapshot that relies on the pack was either committed
///   before the listing, and is seen by the walk; or after it, so that its writer's second look comes after the record
///   was stored, and finds the record or finds the pack gone.
/// - A pack is removed only if its tag is the one that was condemned, where the store can compare.
/// - The order is: copies and the segments that name them; packs; segments without them; the record. The record goes
///   last because as long as a segment names the pack, the record is what keeps writers from relying on it.
/// - The order in which a survey is read is part of the proof; see `RepositorySurvey`.
///
/// The grace period is not what safety rests on, except for a writer that stops for longer than it between putting a
/// manifest and looking again, and never wakes up: such a snapshot is incomplete, the collector that removed its packs
/// reports it if it can see it, and `verify` names it.
package final class Collector: Sendable {
    private let repository: Repository
    private let progress: MaintenanceProgress.Handler

    /// A collector of `repository`. `progress` is called from several threads.
    package init(repository: Repository, progress: @escaping MaintenanceProgress.Handler = { _ in }) {
        self.repository = repository
        self.progress = progress
    }

    /// One collection: rescue, remove what was condemned long enough ago, tidy the index, condemn what is dead by now.
    ///
    /// Throws `.notPermitted` without the role `full`, or for a dry run with a writer key; `.busy` when another collection is
    /// under way; `.damaged` when a snapshot or a directory cannot be read, for then nobody knows what it refers to, and
    /// nothing is changed; `.storage`; `.cancelled`. May be interrupted anywhere and run again.
    package func prune(_ options: PruneOptions = PruneOptions()) async throws(RepositoryError) -> PruneReport {
        do {
            if options.isDryRun {
                try repository.require(.read, to: "see what a prune would remove")
            } else {
                try repository.require(.manage, to: "prune")
            }
            try await repository.refuseNewerKeys()
            if options.isDryRun {
                var run = CollectionRun(repository, options, holder: nil, progress)
                try await run.execute()
                return run.report
            }
            try await repository.completeHead()
            let holder = try await CollectorClaimHolder.take(repository)
            let (repository, progress) = (repository, progress)
            do {
                let report = try await holder.whileTouching {
                    var run = CollectionRun(repository, options, holder: holder, progress)
                    try await run.execute()
                    return run.report
                }
                await holder.release()
                return report
            } catch {
                await holder.release()
                throw error
            }
        } catch {
            throw RepositoryError(error, doing: "cannot prune \(repository.store.location)")
        }
    }
}

extension Repository {
    /// Throws `.busy` when the keys were changed since this repository was opened: objects sealed under keys that we lack
    /// would look damaged.
    func refuseNewerKeys() async throws(RepositoryError) {
        do {
            for prefix in [ObjectNames.keyTables, ObjectNames.keyTableCopies] {
                for object in try await store.listAll(prefix: prefix) {
                    guard let generation = ObjectNames.generation(of: object.key), generation > keyTable.generation
                    else { continue }
                    do {
                        let table = try KeyTable(decoding: try await store.get(object.key, maximumBytes: 64 << 20))
                        guard table.repositoryID == config.repositoryID, table.generation == generation else {
                            continue
                        }
                    } catch let error as ObjectStorageError {
                        if error.code == .notFound { continue }
                        throw error
                    } catch let error as FormatError {
                        // Not a table; opening the repository passed it over too.
                        guard error.code == .newerVersion else { continue }
                        throw error
                    }
                    throw RepositoryError(
                        .busy, "the keys of \(store.location) were changed since this command began: run it again")
                }
            }
        } catch {
            throw RepositoryError(error, doing: "cannot read the key tables")
        }
    }
}
