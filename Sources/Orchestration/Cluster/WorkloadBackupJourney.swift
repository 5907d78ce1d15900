package import Kubernetes
package import Repository
internal import RepositoryFormat
package import Snapshots
internal import Workloads

/// Backs a workload up: its objects, what ran where, and the data of its volumes, in one snapshot, at a moment when it
/// stood still.
///
/// Volumes whose driver makes snapshots are stored after the workload was let go, from copies; others while it stands
/// still. Every part is a snapshot of its own until all are joined, so that a run that is killed loses nothing that it has
/// stored.
package struct WorkloadBackupJourney: Sendable {
    private let client: KubernetesClient
    private let request: WorkloadBackupRequest
    private let open: @Sendable () async throws -> Repository
    private let progress: OperationProgress
    private let report: @Sendable (WorkloadEvent) -> Void

    /// `open` opens the repository with a key of the role `full`, each time as it is then.
    package init(
        _ client: KubernetesClient, _ request: WorkloadBackupRequest, progress: OperationProgress,
        open: @escaping @Sendable () async throws -> Repository,
        report: @escaping @Sendable (WorkloadEvent) -> Void
    ) {
        self.client = client
        self.request = request
        self.open = open
        self.progress = progress
        self.report = report
    }

    /// A volume, and where its data is read.
    private struct Volume: Sendable {
        var claim: KubernetesObject
        /// The class of its snapshots; nil to read it itself.
        var snapshotClass: String?
        var placement: MoverPlacement
    }

    /// What was found of the workload's volumes.
    private struct Survey: Sendable {
        var volumes: [Volume] = []
        /// All of its claims, those without data included: once it is stopped, what only its pods told of is not found again.
        var claims: [String] = []
        /// Claims whose data their users do not want stored.
        var leftOut: [String] = []
        /// Claims that nobody else can mount while their pods run.
        var exclusive: [String] = []
        /// What users should know of them.
        var remarks: [String] = []
    }

    /// What was taken while the workload stood still.
    private struct Capture: Sendable {
        var objects: WorkloadCapture.Objects
        var cuts: [(volume: Volume, cut: ClaimSnapshots.Cut)]
        var moved: [(claim: String, result: MoverResult)]
    }

    /// Runs it. Throws what quiescing throws (20, 21, 11), what movers throw, and what the repository does.
    package func run() async throws(JourneyError) -> WorkloadBackupResult {
        try await JourneyError.mapping { try await backUp() }
    }

    private func backUp() async throws -> WorkloadBackupResult {
        let live = try await WorkloadFinder(client).find(request.workload)
        var captureOptions = WorkloadCapture.Options()
        captureOptions.includesSecrets = request.includesSecrets
        let capture = WorkloadCapture(client, options: captureOptions)
        let facts = try await capture.facts(of: live)
        let movers = MoverRun.Request(
            namespace: live.namespace, settings: request.movers, access: request.access, role: .writer, open: open)
        let report = report
        return try await MoverRun.with(client, movers, report: { report(.mover($0)) }) { run in
            let survey = try await self.survey(live, run)
            for remark in survey.remarks { report(.remark(remark)) }
            let volumes = survey.volumes
            // Nothing can be seen on a device without a file system.
            let places = volumes.filter { !$0.claim.isBlockVolume }.map {
                MoverObserver.Place(claim: $0.claim.name, placement: $0.placement)
            }
            // What no mover can mount meanwhile may be where the checkpoint is.
            let isSeen = !places.isEmpty && survey.exclusive.isEmpty
            let quiescer = Quiescer(
                self.client, options: self.request.quiescing,
                observer: isSeen ? MoverObserver(run, places: places) : nil
            ) { report(.quiesce($0)) }
            let (captured, record) = try await quiescer.holding(live) { standstill in
                try await self.take(live, survey, capture, run, standstill)
            }
            // It runs again: the rest takes as long as it takes.
            var moved = captured.moved
            moved += try await self.moveAll(captured.cuts.map(\.volume), run) { volume in
                guard let cut = captured.cuts.first(where: { $0.volume.claim.name == volume.claim.name })?.cut else {
                    return volume.claim.name
                }
                return try await self.snapshots(run).copy(cut).name
            }
            // Within the run: parts that are not joined go with it.
            return try await self.join(
                live, captured, record, moved.sorted { $0.claim < $1.claim }, facts, survey, run)
        }
    }

    // MARK: Volumes

    /// The workload's volumes, and how each is read. Throws for one that cannot be.
    private func survey(_ live: LiveWorkload, _ run: MoverRun) async throws -> Survey {
        var survey = Survey()
        let pods = try await live.pods()
        var attachments: VolumeAttachments?
        let consistency = try await Quiescer(client, options: request.quiescing) { _ in }.policy(of: live).consistency
        survey.claims = try await live.claims()
        for name in survey.claims {
            guard
                let claim = try await client.find(.persistentVolumeClaims, namespace: live.namespace, name: name)
            else { continue }
            guard try Self.isWanted(claim) else {
                survey.leftOut.append(name)
                survey.remarks.append(
                    "\(claim.label) is left out, for its annotation \(BecalmAnnotation.volumeBackup) says so: a restore makes it anew, empty"
                )
                continue
            }
            if RestoredObject.isPartial(claim) {
                survey.remarks.append(
                    "\(claim.label) is not known to be whole: a restore into it is at work, or has failed; it is stored as it is, and says so when it is restored"
                )
            }
            guard claim["status", "phase"]?.string == "Bound" else {
                survey.remarks.append("\(claim.label) is not bound to a volume yet, so it has no data")
                continue
            }
            if claim.isBlockVolume {
                survey.remarks.append(
                    "\(claim.label) is a block device (volumeMode Block): whether a checkpoint is on it, and which, is not known"
                )
            }
            let snapshotClass = try await snapshotClass(for: claim, run)
            let user = pods.first { pod in Pod().podTemplates(pod).contains { $0.claimNames.contains(name) } }
            if claim.accessModes.contains("ReadWriteOncePod"), let user, user.mayRun {
                guard consistency != .checkpoint || snapshotClass != nil else { throw Self.exclusive(claim, user) }
                survey.exclusive.append(name)
                survey.remarks.append(
                    "\(claim.label) is its pod's alone (ReadWriteOncePod), so a checkpoint on it cannot be looked at while that runs"
                )
            }
            var place = placement(live, claim, user)
            if user == nil, snapshotClass == nil {
                if attachments == nil { attachments = try await VolumeAttachments(client) }
                place.preferredNode = attachments?.node(of: claim)
            }
            survey.volumes.append(Volume(claim: claim, snapshotClass: snapshotClass, placement: place))
        }
        return survey
    }

    private static func exclusive(_ claim: KubernetesObject, _ user: KubernetesObject) -> JourneyError {
        JourneyError(
            .failed, kind: "volume_in_use",
            "\(claim.label) is \(user.name)'s alone while that runs (ReadWriteOncePod), and with the consistency `checkpoint` it does: have the workload stopped meanwhile (--consistency pause), or its volumes read from CSI snapshots (--source snapshot)"
        )
    }

    /// Whether the user of a claim wants its data stored.
    private static func isWanted(_ claim: KubernetesObject) throws(JourneyError) -> Bool {
        switch claim.annotations[BecalmAnnotation.volumeBackup] {
        case nil, "true": return true
        case "false": return false
        case let other?:
            throw .usage(
                "\(claim.label): the annotation \(BecalmAnnotation.volumeBackup) is true or false, not `\(other.prefix(80))`"
            )
        }
    }

    /// The class of the snapshots that the claim is read from; nil to read it itself.
    private func snapshotClass(for claim: KubernetesObject, _ run: MoverRun) async throws -> String? {
        try await snapshots(run).snapshotClass(for: claim, source: request.source)
    }

    /// Beside the pod that has the volume, while that runs and only its node reaches it; else where the workload's pods may
    /// run.
    private func placement(
        _ live: LiveWorkload, _ claim: KubernetesObject, _ user: KubernetesObject?
    ) -> MoverPlacement {
        let modes = claim.accessModes
        let isShared = modes.contains("ReadWriteMany") || modes.contains("ReadOnlyMany")
        if let user {
            // A checkpoint is looked for while it runs, so its node it is; once stopped, any node that reaches the volume.
            return isShared ? MoverPlacement(like: user.json) : MoverPlacement(beside: user)
        }
        return ClaimUsers(live.workload).placement(of: claim.name)
    }

    /// Takes what must be taken while the workload stands still.
    private func take(
        _ live: LiveWorkload, _ survey: Survey, _ capture: WorkloadCapture, _ run: MoverRun,
        _ standstill: StandstillWatch
    ) async throws -> Capture {
        report(.stage("taking its objects and volumes"))
        let cuts = try await cutAll(survey.volumes, snapshots(run))
        let read = survey.volumes.filter { $0.snapshotClass == nil }
        // Copies are of this moment. Volumes that are read themselves need it to stand still until they are.
        if read.isEmpty { try await standstill.taken() }
        let objects = try await capture.objects(of: live, claims: survey.claims)
        let moved = try await moveAll(read, run) { $0.claim.name }
        return Capture(objects: objects, cuts: cuts, moved: moved)
    }

    private func snapshots(_ run: MoverRun) -> ClaimSnapshots {
        let report = report
        return ClaimSnapshots(client: client, run: run.id, limits: request.snapshotLimits) { report(.remark($0)) }
    }

    /// Cuts the snapshots of those volumes that have a class for it, all at once: it stands still for the slowest, not for
    /// their sum.
    private func cutAll(
        _ volumes: [Volume], _ snapshots: ClaimSnapshots
    ) async throws -> [(volume: Volume, cut: ClaimSnapshots.Cut)] {
        try await withThrowingTaskGroup(of: (volume: Volume, cut: ClaimSnapshots.Cut).self) { group in
            for volume in volumes {
                guard let name = volume.snapshotClass else { continue }
                group.addTask { (volume, try await snapshots.cut(volume.claim, className: name)) }
            }
            var cuts: [(volume: Volume, cut: ClaimSnapshots.Cut)] = []
            for try await cut in group { cuts.append(cut) }
            return cuts.sorted { $0.volume.claim.name < $1.volume.claim.name }
        }
    }

    /// Moves volumes side by side; `mounted` says which claim is mounted for one.
    private func moveAll(
        _ volumes: [Volume], _ run: MoverRun, _ mounted: @escaping @Sendable (Volume) async throws -> String
    ) async throws -> [(claim: String, result: MoverResult)] {
        let shards = request.shards
        return try await withThrowingTaskGroup(of: [(claim: String, result: MoverResult)].self) { group in
            for volume in volumes {
                group.addTask {
                    let claim = try await mounted(volume)
                    let isCopy = claim != volume.claim.name
                    let isBlock = volume.claim.isBlockVolume
                    // A device is one file, which no shares of files divide; its mover reads it with all processors.
                    let isShared = volume.claim.accessModes.contains("ReadWriteMany") && !isCopy && !isBlock
                    let count = isShared ? shards : 1
                    var placement = volume.placement
                    if isCopy { placement.node = nil }
                    return try await Self.move(volume.claim, claim, isCopy, count, placement, run)
                }
            }
            var moved: [(claim: String, result: MoverResult)] = []
            for try await results in group { moved += results }
            return moved
        }
    }

    private static func move(
        _ origin: KubernetesObject, _ claim: String, _ isCopy: Bool, _ count: Int, _ placement: MoverPlacement,
        _ run: MoverRun
    ) async throws -> [(claim: String, result: MoverResult)] {
        let results = try await run.backUp(
            shards: count, claim: claim, origin: isCopy ? origin.name : nil, isBlock: origin.isBlockVolume,
            placement: placement)
        return results.map { (origin.name, $0) }
    }

    // MARK: One snapshot

    private func join(
        _ live: LiveWorkload, _ captured: Capture, _ record: QuiesceRecord,
        _ volumes: [(claim: String, result: MoverResult)], _ facts: Kubernetes.JSONValue, _ survey: Survey,
        _ run: MoverRun
    ) async throws -> WorkloadBackupResult {
        report(.stage("joining its parts"))
        let repository = try await open()
        let remarks = captured.objects.remarks
        var inventories: [(name: String, inventory: StateInventory)] = []
        let devices = Set(survey.volumes.map(\.claim).filter(\.isBlockVolume).map(\.name))
        for (claim, result) in volumes where !devices.contains(claim) {
            guard let inventory = try await repository.findSnapshot(result.snapshot).manifest?.inventory else {
                continue
            }
            inventories.append((claim, inventory))
        }
        var record = record
        if let taken = record.taken, !inventories.isEmpty || !devices.isEmpty {
            record.recovery = RecoveryPoint(inventories, taken: taken)
            record.recovery?.devices = devices.sorted()
        }
        let document = WorkloadDocument(
            workload: live.reference, record: record, facts: facts,
            volumes: volumes.map { ($0.claim, $0.result.bytes) }, leftOut: survey.leftOut,
            remarks: survey.remarks + remarks)
        let files = captured.objects.files + [document.file]
        let objects = try await ObjectFiles(repository: repository, scratch: request.scratch).store(
            files, host: request.host, user: request.user, tags: [MoverJob.partTag(run: run.id)])
        var parts = [JoinPart(snapshot: objects, place: [])]
        for (claim, result) in volumes {
            parts.append(
                JoinPart(
                    snapshot: try await repository.findSnapshot(result.snapshot).id,
                    from: [Array(MoverJob.volumeName.utf8)],
                    place: WorkloadDocument.volumePath(live.namespace, claim).map { Array($0.utf8) }))
        }
        var joining = JoinRequest(
            parts: parts, host: request.host, user: request.user, paths: ["/\(live.reference)"], tags: request.tags,
            program: Version.program)
        joining.standstill = WorkloadStandstill(record)
        let journey = JoinJourney(repository: repository, request: joining, progress: progress)
        let joined = try await withTaskCancellationHandler {
            try await journey.run()
        } onCancel: {
            progress.cancel()
        }
        _ = try await journey.forgetParts(of: joined, tagged: MoverJob.partTag(run: run.id))
        return WorkloadBackupResult(joined: joined, record: record, volumes: volumes, remarks: remarks)
    }
}
