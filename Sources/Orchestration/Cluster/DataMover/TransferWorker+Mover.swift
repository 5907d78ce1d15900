internal import Kubernetes
internal import Repository
internal import RepositoryFormat

extension TransferWorker {
    /// The mover of a transfer, in Velero's namespace.
    func mover(of transfer: Transfer) -> DetachedMover {
        DetachedMover(client, namespace: settings.namespace, run: transfer.run)
    }

    func handover(_ download: Transfer, waited: Double) -> VolumeHandover {
        VolumeHandover(
            client: client, download: download, waited: waited, consumerSeconds: settings.consumerSeconds)
    }

    /// Goes on with making the claim that the mover works with.
    func expose(_ transfer: Transfer, waited: Double) async throws -> Readiness {
        switch transfer.kind {
        case .upload: try await SnapshotExposure(client: client, upload: transfer).expose()
        case .download:
            try await handover(transfer, waited: waited).prepare {
                // Of one that does not tell, its own size is all that is known.
                try await requireSnapshot(transfer).manifest?.totals.bytes ?? 0
            }
        }
    }

    /// Begins the mover, or goes on with beginning it.
    func begin(_ transfer: Transfer) async throws {
        var movers = settings.movers
        movers.startSeconds = settings.prepareSeconds
        let action: MoverAction
        var (placement, subject) = (MoverPlacement(), MoverSubject?.none)
        switch transfer.kind {
        case .upload:
            action = .backup(shard: 0, of: 1)
            subject = Self.subject(transfer)
        case .download:
            let snapshot = try TransferChecks.snapshot(of: transfer).id.snapshot
            action = .restore(snapshot: "\(snapshot)", path: [MoverJob.volumeName])
            placement = try await handover(transfer, waited: 0).placement()
        }
        let request = MoverRun.Request(
            namespace: settings.namespace, settings: movers, access: try await access(),
            role: action.role, open: open)
        let claim = try await client.find(
            .persistentVolumeClaims, namespace: settings.namespace, name: transfer.exposedName)
        let (report, label) = (report, transfer.label)
        try await mover(of: transfer).start(
            action, claim: transfer.exposedName, isBlock: claim?.isBlockVolume ?? false, subject: subject,
            placement: placement,
            seconds: DataMoverSettings.mostSeconds, staysBegun: true, request
        ) { report(.trouble("\(label): \($0)")) }
    }

    /// Whose data a snapshot is to hold, in the words of who looks for it later: not those of the copy that is read.
    private static func subject(_ upload: Transfer) -> MoverSubject {
        let name = "\(upload.text("sourceNamespace"))/\(upload.text("sourcePVC"))"
        var tags = ["velero.io/pvc=\(name)"]
        if let backup = upload.object.labels["velero.io/backup-name"] { tags.append("velero.io/backup=\(backup)") }
        return MoverSubject(name: name, tags: tags)
    }

    /// Takes away a mover that has ended. Answers, and tells, what could not be done; another call does it.
    @discardableResult
    func sweep(_ transfer: Transfer, forgetsSnapshots: Bool, forgetsLease: Bool) async -> [String] {
        let left = await mover(of: transfer).clean(
            forgetsSnapshots: forgetsSnapshots, forgetsLease: forgetsLease, open: open)
        for message in left { report(.trouble("\(transfer.label): \(message)")) }
        return left
    }
}
