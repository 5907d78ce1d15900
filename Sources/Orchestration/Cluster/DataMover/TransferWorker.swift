internal import Basics
internal import Kubernetes
internal import Repository
internal import RepositoryFormat

/// Does the next thing for a transfer: reads it, does what its phase asks for, and writes what has changed.
///
/// A step may end anywhere, with its process or in an error, and the next one, of whichever process, goes on: what has been
/// done is found by names that come from the transfer's uid. A step that meets another writer begins anew from what is there.
struct TransferWorker: Sendable {
    let client: KubernetesClient
    let settings: DataMoverSettings
    /// Opens the repository with a key of the role `full`, each time as it is then.
    let open: @Sendable () async throws -> Repository
    /// How movers get at the repository.
    let access: @Sendable () async throws -> MoverAccess
    let report: @Sendable (DataMoverEvent) -> Void

    /// When a transfer is to be looked at again.
    enum Pace: Sendable, Equatable {
        case after(seconds: Double)
        /// When it changes.
        case whenChanged
    }

    /// What a step has come to; the transfer as it is now, nil when it is gone.
    struct Outcome: Sendable, Equatable {
        var transfer: Transfer?
        var pace: Pace
    }

    var store: TransferStore { TransferStore(client: client, namespace: settings.namespace) }

    /// Seconds until another try after an error.
    private static let errorSeconds = 5.0

    /// The server's time, by which all replicas measure how long a transfer takes.
    func now() async throws(KubernetesError) -> Timestamp {
        try await KubernetesLease(client, namespace: settings.namespace, name: DataMover.lockName).read().now
    }

    /// Does the next thing for the transfer of that name.
    func step(_ kind: Transfer.Kind, _ name: String) async -> Outcome {
        var known: Transfer?
        do {
            guard let transfer = try await store.find(kind, name), transfer.isOurs else {
                return Outcome(transfer: nil, pace: .whenChanged)
            }
            known = transfer
            return try await step(transfer)
        } catch {
            return await setBack(known, error)
        }
    }

    private func setBack(_ transfer: Transfer?, _ error: any Error) async -> Outcome {
        let again = Outcome(transfer: transfer, pace: .after(seconds: Self.errorSeconds))
        if Task.isCancelled { return again }
        if let error = error as? KubernetesError, error.code == .conflict {
            return Outcome(transfer: transfer, pace: .after(seconds: 0.2))
        }
        guard let transfer else {
            report(.trouble("\(JourneyError(error).message)"))
            return again
        }
        let message = JourneyError(error).message
        guard let failure = TransferFailure(lasting: error), transfer.phase?.isTerminal == false else {
            report(.trouble("\(transfer.label): \(message)"))
            return again
        }
        do {
            return try await end(transfer, .failed, failure.description)
        } catch {
            report(.trouble("\(transfer.label) has failed (\(message)), and that cannot be written down: \(error)"))
            return again
        }
    }

    private func step(_ transfer: Transfer) async throws -> Outcome {
        switch transfer.phase {
        case nil:
            report(.trouble("\(transfer.label) is in a phase that this version does not know: it is left alone"))
            return Outcome(transfer: transfer, pace: .whenChanged)
        case .new:
            if transfer.object.isBeingDeleted { return Outcome(transfer: transfer, pace: .whenChanged) }
            return transfer.isUnwanted ? try await stop(transfer) : try await accept(transfer)
        case .canceling: return try await cancel(transfer)
        case .canceled, .completed, .failed: return try await clean(transfer)
        case .accepted, .prepared, .inProgress:
            if transfer.isUnwanted { return try await stop(transfer) }
            return transfer.phase == .accepted ? try await prepare(transfer) : try await move(transfer)
        }
    }

    // MARK: Phases

    /// Writes a status; the next thing is done at once.
    func save(_ transfer: Transfer, _ status: TransferStatus) async throws -> Outcome {
        let saved = try await store.save(transfer, status)
        if let phase = status.phase, phase != transfer.phase {
            report(.phase(transfer: saved.label, phase: phase.rawValue, message: status.message ?? ""))
        }
        return Outcome(transfer: saved, pace: .after(seconds: 0))
    }

    /// Writes the end of a transfer; what is left of it is removed after that.
    func end(_ transfer: Transfer, _ phase: Transfer.Phase, _ message: String) async throws -> Outcome {
        var status = TransferStatus(phase, message: message)
        status.completed = try await now()
        return try await save(transfer, status)
    }

    /// New: what makes no sense fails; anything else is claimed.
    private func accept(_ transfer: Transfer) async throws -> Outcome {
        try TransferChecks.check(transfer)
        if transfer.kind == .download { _ = try await requireSnapshot(transfer) }
        var status = TransferStatus(.accepted, message: "")
        status.acceptedByNode = settings.identity
        status.accepted = try await now()
        return try await save(transfer, status)
    }

    /// The snapshot that a download brings back. Throws for one that is not in the configured repository.
    func requireSnapshot(_ download: Transfer) async throws -> ListedSnapshot {
        let wanted = try TransferChecks.snapshot(of: download).id
        let repository = try await open()
        guard repository.config.repositoryID == wanted.repository else {
            throw TransferFailure(
                "its data is in the repository \(wanted.repository), and this data mover works with \(repository.config.repositoryID): let it work with the other one for this restore"
            )
        }
        return try await repository.findSnapshot("\(wanted.snapshot)")
    }

    /// Accepted: makes the claim and begins the mover, until its pod has the volume.
    private func prepare(_ transfer: Transfer) async throws -> Outcome {
        let now = try await now()
        let waited = now - (transfer.time("acceptedTimestamp") ?? transfer.object.creationTimestamp ?? now)
        let reason: String
        do {
            let preparation = try await preparation(of: transfer, waited: waited)
            if let outcome = preparation.outcome { return outcome }
            reason = preparation.reason
        } catch {
            // What may pass is tried again, for as long as a preparation may take.
            let isConflict = (error as? KubernetesError)?.code == .conflict
            guard !Task.isCancelled, !isConflict, TransferFailure(lasting: error) == nil else { throw error }
            reason = JourneyError(error).message
        }
        guard waited < Double(settings.prepareSeconds) else {
            let words = reason.isEmpty ? "" : ": it waits for: \(reason)"
            return try await end(transfer, .failed, "not prepared within \(settings.prepareSeconds) s\(words)")
        }
        return try await wait(transfer, for: reason)
    }

    /// Makes what is missing of the claim and the mover: what has come of it, or what it waits for.
    private func preparation(
        of transfer: Transfer, waited: Double
    ) async throws -> (outcome: Outcome?, reason: String) {
        if case .waits(let reason) = try await expose(transfer, waited: waited) { return (nil, reason) }
        switch try await mover(of: transfer).standing() {
        case .unknown:
            try await begin(transfer)
            return (Outcome(transfer: transfer, pace: .after(seconds: settings.pollSeconds / 3)), "")
        case .waiting(let reason, _): return (nil, reason)
        // It has one mover, and never several.
        case .running, .stored: return (try await save(transfer, TransferStatus(.prepared, message: "")), "")
        case .ended(let ending):
            if let failure = ending.result.failure { return (try await end(transfer, .failed, failure), "") }
            return (try await save(transfer, TransferStatus(.prepared, message: "")), "")
        }
    }

    /// Says what a transfer waits for, where that has changed.
    private func wait(_ transfer: Transfer, for reason: String) async throws -> Outcome {
        var outcome = Outcome(transfer: transfer, pace: .after(seconds: settings.pollSeconds))
        guard !reason.isEmpty, let phase = transfer.phase else { return outcome }
        let saved = try await store.save(transfer, TransferStatus(phase, message: "waits for: \(reason)"))
        if saved != transfer { report(.waiting(transfer: transfer.label, reason: reason)) }
        outcome.transfer = saved
        return outcome
    }

    /// Prepared and InProgress: follows the mover to its end.
    private func move(_ transfer: Transfer) async throws -> Outcome {
        let standing = try await mover(of: transfer).standing()
        if transfer.phase == .prepared {
            var status = TransferStatus(.inProgress)
            status.started = try await now()
            if transfer.kind == .upload { status.nodeOS = "linux" }
            switch standing {
            case .running(_, let node, _): status.node = node
            // It was too fast to be seen.
            case .ended(let ending): status.node = ending.node
            default: break
            }
            return try await save(transfer, status)
        }
        switch standing {
        case .unknown, .stored:
            return try await end(
                transfer, .failed, "nothing is known of its mover any more: somebody has deleted its Lease")
        case .waiting(let reason, _): return try await wait(transfer, for: reason)
        case .running(let said, let node, _):
            var status = TransferStatus(.inProgress, message: "")
            status.node = node
            if said.bytesTotal > 0 || said.bytes > 0 {
                status.progress = (said.bytes, max(said.bytes, said.bytesTotal))
            }
            var outcome = try await save(transfer, status)
            outcome.pace = .after(seconds: settings.pollSeconds)
            return outcome
        case .ended(let ending):
            if let failure = ending.result.failure {
                return try await fail(transfer, ending, failure)
            }
            return transfer.kind == .upload
                ? try await complete(transfer, ending) : try await handOver(transfer, ending)
        }
    }

    // MARK: Ends

    private func fail(
        _ transfer: Transfer, _ ending: DetachedMover.Ending, _ message: String
    ) async throws -> Outcome {
        var status = TransferStatus(.failed, message: message)
        status.completed = try await now()
        status.node = ending.node
        // What was read is kept, and goes with the backup.
        if transfer.kind == .upload { status.snapshotID = ClaimSnapshot(ending)?.description }
        return try await save(transfer, status)
    }

    private func complete(_ upload: Transfer, _ ending: DetachedMover.Ending) async throws -> Outcome {
        let result = ending.result
        guard let place = ClaimSnapshot(ending) else {
            return try await end(upload, .failed, "the mover does not say which snapshot it has made")
        }
        var status = TransferStatus(.completed, message: "")
        status.completed = try await now()
        status.node = ending.node
        status.snapshotID = "\(place)"
        status.path = MoverJob.volumePath
        status.progress = (result.bytes, result.bytes)
        status.incrementalBytes = result.bytesNew
        status.result = [
            "bytesNew": "\(result.bytesNew)", "bytesStored": "\(result.bytesStored)",
            "contentDigest": result.contentDigest, "files": "\(result.files)", "snapshot": "\(place.id.snapshot)",
        ]
        return try await save(upload, status)
    }

    /// Gives the volume, whose data is whole and was read back, to the claim that asked for it.
    private func handOver(_ download: Transfer, _ ending: DetachedMover.Ending) async throws -> Outcome {
        let handover = handover(download, waited: 0)
        try await handover.keep()
        await sweep(download, forgetsSnapshots: false, forgetsLease: false)
        switch try await handover.handOver() {
        case .waits(let reason):
            var outcome = try await wait(download, for: reason)
            outcome.pace = .after(seconds: settings.pollSeconds / 3)
            return outcome
        case .ready:
            var status = TransferStatus(.completed, message: "")
            status.completed = try await now()
            status.node = ending.node
            let bytes = max(ending.result.bytes, UInt64(clamping: progress(download)))
            status.progress = (bytes, bytes)
            return try await save(download, status)
        }
    }

    private func progress(_ transfer: Transfer) -> Int64 {
        transfer.object["status", "progress", "totalBytes"]?.int64 ?? 0
    }

    /// Begins to end a transfer that nobody wants any more.
    private func stop(_ transfer: Transfer) async throws -> Outcome {
        let why = transfer.object.isBeingDeleted ? "it is being deleted" : "its end was asked for"
        return try await save(transfer, TransferStatus(.canceling, message: why))
    }

    /// Canceling: stops the mover. A volume that is the target's already stays so.
    private func cancel(_ transfer: Transfer) async throws -> Outcome {
        let mover = mover(of: transfer)
        if transfer.kind == .download, try await handover(transfer, waited: 0).isHandedOver(),
            case .ended(let ending) = try await mover.standing(), ending.result.failure == nil
        {
            return try await handOver(transfer, ending)
        }
        try await mover.cancel()
        return try await end(transfer, .canceled, "cancelled")
    }

    /// Canceled, Completed, Failed: takes away what was made, then lets go of the object.
    private func clean(_ transfer: Transfer) async throws -> Outcome {
        guard transfer.hasFinalizer else { return Outcome(transfer: transfer, pace: .whenChanged) }
        let mover = mover(of: transfer)
        try await mover.cancel()
        // What no status names is nobody's.
        let isNamed = transfer.kind == .download || DataMover.snapshot(ofUpload: transfer.object) != nil
        let left = await sweep(transfer, forgetsSnapshots: !isNamed, forgetsLease: false)
        let reason =
            transfer.kind == .upload
            ? try await SnapshotExposure(client: client, upload: transfer).remove()
            : try await handover(transfer, waited: 0).remove()
        guard reason == nil, left.isEmpty else {
            if let reason { report(.waiting(transfer: transfer.label, reason: reason)) }
            return Outcome(
                transfer: transfer, pace: .after(seconds: left.isEmpty ? settings.pollSeconds / 3 : Self.errorSeconds))
        }
        _ = await sweep(transfer, forgetsSnapshots: false, forgetsLease: true)
        return Outcome(transfer: try await store.release(transfer), pace: .whenChanged)
    }
}

/// What a transfer must say so that there is something to do.
enum TransferChecks {
    /// Throws for one that no data mover could serve.
    static func check(_ transfer: Transfer) throws(TransferFailure) {
        switch transfer.kind {
        case .upload:
            guard transfer.text("snapshotType") == "CSI" else {
                throw TransferFailure(
                    "snapshotType is `\(transfer.text("snapshotType").prefix(80))`: this data mover reads CSI snapshots"
                )
            }
            for path: [JSONPath.Element] in [["csiSnapshot", "volumeSnapshot"], ["sourceNamespace"], ["sourcePVC"]] {
                guard transfer.object[JSONPath(["spec"] + path)]?.string?.isEmpty == false else {
                    throw TransferFailure("spec.\(JSONPath(path)) is missing")
                }
            }
        case .download:
            _ = try snapshot(of: transfer)
            for path: [JSONPath.Element] in [["targetVolume", "namespace"], ["targetVolume", "pvc"]] {
                guard transfer.object[JSONPath(["spec"] + path)]?.string?.isEmpty == false else {
                    throw TransferFailure("spec.\(JSONPath(path)) is missing")
                }
            }
        }
    }

    /// The snapshot whose data a DataDownload brings back.
    static func snapshot(of download: Transfer) throws(TransferFailure) -> ClaimSnapshot {
        let text = download.text("snapshotID")
        guard let snapshot = ClaimSnapshot(text) else {
            throw TransferFailure(
                "snapshotID `\(text.prefix(120))` is none of this data mover's: it was stored by another one, or by a newer version of Becalm"
            )
        }
        return snapshot
    }
}
