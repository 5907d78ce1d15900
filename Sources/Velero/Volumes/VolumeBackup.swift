internal import Basics
internal import Logging
internal import Orchestration
internal import Repository
internal import RepositoryFormat
internal import Snapshots

/// One snapshot of one volume.
struct VolumeBackup: Sendable {
    let volumes: DirectoryVolumes
    let volume: VolumeID
    /// Velero's: the backup's labels, `velero.io/backup`, `velero.io/pv`.
    let tags: [String: String]

    /// The tag that names the volume a snapshot is of; a restore goes by it.
    static let volumeTag = "becalm.io/volume="
    /// What a restore under way has in a directory of volumes.
    private static let excludes = ["\(ScratchDirectory.volumeNames)*"]

    private var logger: Logger { volumes.logger }

    /// Takes it. What is incomplete beyond the configured tolerance is forgotten again and thrown as an error.
    func run() async throws -> VolumeSnapshotID {
        let directory = try await directory()
        let path = directory.path
        if case .directory(let repository) = volumes.configuration.place {
            do {
                try await SourceGuard(repository: repository, excludes: []).check([path])
            } catch {
                throw VeleroError(
                    .invalidArgument,
                    "the volume \(volume.place) and the repository \(PathText.display(repository)) lie in each other: put the repository elsewhere"
                )
            }
        }
        let repository = try await volumes.repository.openForSnapshot()
        // Labels of the backup, as its user wrote them: none may pass for ours.
        let names = tags.map { "\($0.key)=\($0.value)" }.filter { !$0.hasPrefix(Self.volumeTag) }.sorted()
        let request = BackupRequest(
            paths: [path], host: host, user: "velero", tags: names + ["\(Self.volumeTag)\(volume)"],
            excludes: Self.excludes, program: Version.program)
        let progress = OperationProgress()
        let result = try await volumes.cancellable(progress) {
            try await BackupJourney(repository: repository, request: request, progress: progress).run()
        }
        if let reason = try await defect(result, directory) {
            try await discard(result, repository, reason)
        }
        tell(result)
        return VolumeSnapshotID(repository: repository.config.repositoryID, snapshot: result.snapshot)
    }

    /// Whose volume it is: with the path it says which snapshots follow each other.
    private var host: String { volume.kind == .nfs ? volume.server.lowercased() : volumes.configuration.node ?? "node" }

    private func directory() async throws -> VolumeRoots.Directory {
        switch try await volumes.look(volume) {
        case .directory(let directory): return directory
        case .other(let what):
            throw VeleroError(.invalidArgument, "the volume \(volume.place) is \(what) and no directory")
        case .missing:
            throw VeleroError(
                .notFound,
                "the volume \(volume.place) is not there: check that its node's or server's directories are mounted in this pod, with mountPropagation HostToContainer"
            )
        case .outside:
            throw VeleroError(.invalidArgument, "the volume \(volume.place) is below none of the configured roots")
        }
    }

    /// Why what was taken is no snapshot; nil when it is one.
    private func defect(
        _ result: BackupResult, _ directory: VolumeRoots.Directory
    ) async throws -> String? {
        // A volume that was taken away leaves an empty copy behind, in which everything has merely vanished.
        guard try await volumes.look(volume) == .directory(directory) else {
            return "what was read is not there any more: it was removed, replaced or unmounted meanwhile"
        }
        let problems = result.manifest.problems
        let (count, first): (Int, SnapshotManifest.Problem?) =
            switch volumes.configuration.tolerance {
            case .none: (problems.count, problems.first)
            case .changes: (result.unreadable.count, result.unreadable.first)
            case .unreadable: (0, nil)
            }
        guard let first else { return nil }
        let more = count > 1 ? " (and \(count - 1) more)" : ""
        let remedy =
            result.unreadable.isEmpty
            ? "stop what writes there with a hook or becalm.io/quiesce, or set tolerate: changes"
            : "let Velero's server run as root, or set tolerate: unreadable"
        return "\(PathText.about(first.path, first.message))\(more); \(remedy)"
    }

    private func discard(_ result: BackupResult, _ repository: Repository, _ reason: String) async throws -> Never {
        var reason = reason
        do {
            _ = try await MaintenanceJourney(repository: repository, progress: OperationProgress())
                .forget(exactly: [result.snapshot])
        } catch {
            reason += "; the incomplete snapshot \(result.snapshot) stays in the repository, for \(error)"
        }
        throw VeleroError(.failed, "the volume \(volume.place) was not copied whole: \(reason)")
    }

    private func tell(_ result: BackupResult) {
        let manifest = result.manifest
        // Warnings count as the backup's: one of each kind, and only where somebody should look.
        if let first = manifest.problems.first {
            logger.warning(
                "the snapshot of \(volume.place) lacks \(manifest.problems.count) things, which is tolerated: \(PathText.about(first.path, first.message))"
            )
        }
        if let inventory = manifest.inventory, let first = inventory.leftOut.first {
            logger.warning(
                "the snapshot of \(volume.place) leaves out \(counted(inventory.leftOut.count, "thing")) that a job is writing or that is worth nothing elsewhere: \(first.path): \(first.message)"
            )
        }
        if manifest.totals.files == 0, manifest.totals.directories <= 1 {
            logger.warning(
                "the volume \(volume.place) is empty: if it should not be, mount its root in this pod with mountPropagation HostToContainer"
            )
        }
        logger.info(
            "snapshot \(result.snapshot) of \(volume.place): \(manifest.totals.files) files, \(manifest.totals.bytes) bytes, \(result.counters.bytesStored) stored"
        )
    }
}
