internal import Basics
internal import Logging
internal import ObjectStorage
internal import Orchestration
internal import Repository
internal import Snapshots

/// Volumes that are directories of this pod. Nothing is kept between two calls but the configuration.
///
/// Calls that work on the repository take turns, as many at once as the memory has room for.
struct DirectoryVolumes: VolumeSnapshotterPlugin {
    let configuration: VolumesConfiguration
    let environment: PluginEnvironment
    let repository: VolumeRepository
    private let turnstile: Turnstile

    init(_ configuration: VolumesConfiguration, _ environment: PluginEnvironment, _ secrets: (any SecretSource)?) {
        self.configuration = configuration
        self.environment = environment
        repository = VolumeRepository(configuration: configuration, environment: environment, secrets: secrets)
        turnstile = Turnstile(places: max(1, configuration.memoryBytes / MemoryPlan.minimumBytes))
    }

    var logger: Logger { environment.logger }

    func volumeID(persistentVolume: [UInt8]) async throws(VeleroError) -> String {
        let volume = try PersistentVolume(persistentVolume)
        let name = volume.name
        func isForeign(_ reason: String) -> String {
            logger.info("PersistentVolume \(name) is not one of becalm.io/volumes: \(reason)")
            return ""
        }
        switch try volume.finding() {
        case .foreign(let reason): return isForeign(reason)
        case .volume(let id):
            if id.kind != .nfs, let node = configuration.node, volume.excludes(node: node) {
                return isForeign("it is on another node than \(node)")
            }
            if id.kind != .nfs, id.path == .root { return isForeign("it is all of a node's files") }
            switch try await look(id) {
            case .outside: return isForeign("\(id.place) is below none of the configured roots")
            case .other(let what): return isForeign("\(id.place) is \(what)")
            // A snapshot of it fails, and says so: left out without a word it would not be missed.
            case .missing, .directory: return id.description
            }
        }
    }

    func setVolumeID(_ id: String, persistentVolume: [UInt8]) async throws(VeleroError) -> [UInt8] {
        let new = try parse(id)
        var volume = try PersistentVolume(persistentVolume)
        if new.kind != .nfs, let node = configuration.node, volume.excludes(node: node) {
            throw VeleroError(
                .invalidArgument,
                "PersistentVolume \(volume.name) is bound to another node than \(node), on which \(new.place) is: restore with Velero on the volume's node, or change the volume's node affinity"
            )
        }
        if try volume.finding() == .volume(new) { return persistentVolume }
        try volume.put(new)
        return volume.serialized()
    }

    func info(volumeID: String, zone: String) async throws(VeleroError) -> (type: String, iops: Int64?) {
        (try parse(volumeID).kind.volumeType, nil)
    }

    func createSnapshot(
        volumeID: String, zone: String, tags: [String: String]
    ) async throws(VeleroError) -> String {
        let volume = try parse(volumeID)
        let snapshot = try await working("cannot take a snapshot of the volume \(volume.place)") {
            try await VolumeBackup(volumes: self, volume: volume, tags: tags).run()
        }
        return snapshot.description
    }

    func createVolume(
        snapshotID: String, type: String, zone: String, iops: Int64?
    ) async throws(VeleroError) -> String {
        let snapshot = try parse(snapshot: snapshotID)
        let volume = try await working("cannot restore the snapshot \(snapshot.snapshot)") {
            try await VolumeRestore(volumes: self, snapshot: snapshot, type: type).run()
        }
        return volume.description
    }

    func deleteSnapshot(_ id: String) async throws(VeleroError) {
        let snapshot = try parse(snapshot: id)
        try await working("cannot delete the snapshot \(snapshot.snapshot)") {
            guard let repository = try await repository.openForRemoval(of: snapshot) else {
                logger.warning(
                    "the snapshot \(snapshot.snapshot) counts as deleted: its repository \(snapshot.repository) is not where the location says any more"
                )
                return
            }
            let report = try await MaintenanceJourney(repository: repository, progress: OperationProgress())
                .forget(exactly: [snapshot.snapshot])
            guard report.locked.isEmpty else {
                throw VeleroError(
                    .failed,
                    "the snapshot \(snapshot.snapshot) is under retention in \(repository.store.location): delete the backup again when that has ended"
                )
            }
            logger.info(
                report.removed.isEmpty
                    ? "the snapshot \(snapshot.snapshot) was not there any more"
                    : "the snapshot \(snapshot.snapshot) is forgotten: 'becalm prune' frees the space")
        }
    }

    // MARK: What the calls share

    /// Throws `invalidArgument` for text that is no volume's id.
    private func parse(_ id: String) throws(VeleroError) -> VolumeID {
        guard let volume = VolumeID(id) else {
            throw VeleroError(
                .invalidArgument,
                "'\(PathText.display(Array(id.prefix(200).utf8)))' is no volume of becalm.io/volumes: it may be of another plugin or of a later version"
            )
        }
        return volume
    }

    private func parse(snapshot id: String) throws(VeleroError) -> VolumeSnapshotID {
        guard let snapshot = VolumeSnapshotID(id) else {
            throw VeleroError(
                .invalidArgument,
                "'\(PathText.display(Array(id.prefix(200).utf8)))' is no snapshot of becalm.io/volumes: it may be of another plugin or of a later version"
            )
        }
        return snapshot
    }

    /// What is at a volume's path, looked at on a thread that may block.
    func look(_ volume: VolumeID) async throws(VeleroError) -> VolumeRoots.Place {
        let roots = configuration.roots
        do {
            return try await BlockingBridge.offload(name: "becalm-volume") { Result { try roots.look(volume) } }
        } catch {
            throw VeleroError(error, doing: "cannot look at the volume \(volume.place)")
        }
    }

    /// Runs `body` when its turn comes.
    private func working<R>(_ context: String, _ body: () async throws -> R) async throws(VeleroError) -> R {
        do {
            return try await turnstile.pass(body)
        } catch {
            throw VeleroError(error, doing: context)
        }
    }

    /// Runs a journey, whose end a cancelled task asks for.
    func cancellable<R>(_ progress: OperationProgress, _ body: () async throws -> R) async throws -> R {
        try await withTaskCancellationHandler {
            try Task.checkCancellation()
            return try await body()
        } onCancel: {
            progress.cancel()
        }
    }
}
