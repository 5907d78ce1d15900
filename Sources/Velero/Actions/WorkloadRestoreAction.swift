internal import Kubernetes
internal import Logging
internal import Orchestration
internal import Workloads

/// `becalm.io/workload-restore`: restores workloads as their users wrote them, held still where their data has to come
/// first, and leaves out what runs again or is made anew by itself.
struct WorkloadRestoreAction: RestoreItemAction {
    let name = PluginName.workloadRestore
    private let environment: PluginEnvironment

    init(_ environment: PluginEnvironment) { self.environment = environment }

    private enum Gate: String, CaseIterable { case marked, all, none }
    private enum Finished: String, CaseIterable { case skip, hold, restore }
    private enum OwnedPods: String, CaseIterable { case auto, skip, restore }

    /// What the ConfigMap says.
    private struct Settings {
        var resources: [String]
        /// Which workloads are held.
        var gate: Gate
        /// What becomes of those that were done, which would run again.
        var finished: Finished
        /// What becomes of pods that a workload manages.
        var ownedPods: OwnedPods

        init(_ configuration: inout PluginConfiguration) throws(VeleroError) {
            resources = try configuration.list("resources", default: WorkloadResources.restored)
            gate = try configuration.choice("gate", default: .none)
            finished = try configuration.choice("finished", default: .skip)
            ownedPods = try configuration.choice("ownedPods", default: .auto)
        }
    }

    private func settings(for use: PluginConfiguration.Use) async throws(VeleroError) -> Settings {
        try await PluginConfiguration.settings(name, environment, for: use) { (configuration) throws(VeleroError) in
            try Settings(&configuration)
        }
    }

    func appliesTo() async throws(VeleroError) -> ResourceSelector {
        ResourceSelector(resources: try await settings(for: .selection).resources)
    }

    func execute(
        item: [UInt8], original: [UInt8], restore: [UInt8]
    ) async throws(VeleroError) -> RestoreItemOutcome {
        let object = try ActionItem.object(item)
        let stored = try ActionItem.object(original, "the item of the backup")
        let restore = try VeleroRestore(parsing: restore)
        let settings = try await settings(for: .restore)
        var outcome = RestoreItemOutcome(item: item)
        if let reason = await reasonToSkip(stored, restore, settings) {
            environment.logger.info("\(object.label) is not restored: \(reason)", metadata: Self.metadata(object))
            outcome.isSkipped = true
            return outcome
        }
        if ResourceKind.httpRoute.matches(object) {
            outcome.item = open(object)?.serialized() ?? item
            return outcome
        }
        guard var workload = WorkloadCatalog.standard.workload(object) else { return outcome }
        let wasMarked = workload.isMarked
        let isFinished = WorkloadCatalog.standard.workload(stored)?.completion != nil
        do throws(WorkloadError) {
            try workload.prepareForRestore()
            let isHeld =
                switch settings.gate {
                case .none: false
                case .marked: wasMarked
                case .all: true
                }
            // Data that movers bring back comes first; they let it go when all of it is there.
            let waits = await waitsForData(workload, restore)
            let isByHand = isHeld || isFinished && settings.finished == .hold
            if isByHand || waits {
                var reason = reasonNotToHold(workload, restore)
                if reason == nil { reason = try workload.gate(byHand: isByHand) }
                if let reason {
                    // One that was done must not run again, whatever the cost.
                    outcome.isSkipped = isFinished
                    environment.logger.warning(
                        "\(object.label) is \(isFinished ? "not restored" : "restored without being held"): \(reason)",
                        metadata: Self.metadata(object))
                } else if !isByHand {
                    environment.logger.info(
                        "\(object.label) is held until the data of its claims is there", metadata: Self.metadata(object)
                    )
                } else {
                    let reference = WorkloadReference(
                        namespace: restore.target(of: object.namespace), kind: workload.kind.groupResource,
                        name: object.name)
                    environment.logger.warning(
                        """
                        \(object.label) is restored but held, and nothing lets it go by itself: when its data is there, \
                        'becalm resume --restored \(reference)' does
                        """, metadata: Self.metadata(object))
                }
            }
        } catch {
            // The object as it was stored is worth more than none.
            environment.logger.error(
                "\(object.label) is restored as it was stored: \(error.message)", metadata: Self.metadata(object))
            return RestoreItemOutcome(item: item)
        }
        for remark in workload.restoreRemarks {
            environment.logger.warning("\(remark)", metadata: Self.metadata(object))
        }
        if workload.object != object { outcome.item = workload.object.serialized() }
        if wasMarked { outcome.additionalItems = Self.needed(first: workload) }
        return outcome
    }

    /// A route with the weights that its user gave it, where it was drained when it was stored; nil for what stays as it is.
    private func open(_ route: KubernetesObject) -> KubernetesObject? {
        var opened = route
        do throws(WorkloadError) {
            try RouteDrain.openAll(&opened)
        } catch {
            environment.logger.error(
                "\(route.label) is restored as it was stored: \(error.message)", metadata: Self.metadata(route))
            return nil
        }
        return opened == route ? nil : opened
    }

    /// Whether movers are bringing back the data of a claim of the workload, where that is restored to. Claims come before
    /// workloads in a restore. A claim that cannot be read is one that no mover of ours fills.
    private func waitsForData(_ workload: Workload, _ restore: VeleroRestore) async -> Bool {
        let namespace = restore.target(of: workload.object.namespace)
        var names = workload.claims.filter { $0.origin != .ephemeral }.map(\.name)
        do {
            if let client = try await environment.cluster.client() {
                let made = try await RuntimeClaims(client).look(at: workload, namespace: namespace)
                names += made.names
                if let obstacle = made.obstacle {
                    environment.logger.warning(
                        "which claims \(workload.object.label) has is not known, so it waits for all of its namespace: \(obstacle)",
                        metadata: Self.metadata(workload.object))
                    let claims = try await client.list(.persistentVolumeClaims, namespace: namespace).items
                    if claims.contains(where: RestoredObject.isPartial) { return true }
                }
            }
        } catch {
            environment.logger.warning(
                "which claims \(workload.object.label) has by what it is made from is not known: \(error)",
                metadata: Self.metadata(workload.object))
        }
        for name in names {
            let place = ResourceIdentifier(.persistentVolumeClaim, namespace: namespace, name: name)
            do throws(VeleroError) {
                if let claim = try await environment.cluster.object(place), RestoredObject.isPartial(claim) {
                    return true
                }
            } catch {
                // Movers that brought back data had the permission to read its claim.
                environment.logger.info(
                    "whether the data of claim \(name) is there yet is not known: \(error)",
                    metadata: Self.metadata(workload.object))
            }
        }
        return false
    }

    /// Why a workload must not be held, though it is to be; nil when it may.
    private func reasonNotToHold(_ workload: Workload, _ restore: VeleroRestore) -> String? {
        if restore.updatesExisting {
            return "the restore updates what exists, and one that runs would be stopped"
        }
        if workload.kind == Pod().kind, !workload.claims.isEmpty {
            return "Velero brings data of file system backups back through the pod, which has to start for it"
        }
        return nil
    }

    /// What a marked workload's backup has with it and what has to be there when the workload is created: its claims, also
    /// those that a restore by labels would leave out, and what admission asks for.
    private static func needed(first workload: Workload) -> [ResourceIdentifier] {
        workload.references().filter { !$0.isOptional && [.claim, .runtime, .queue].contains($0.role) }
            .map { ResourceIdentifier($0) }
    }

    /// Velero files entries by these.
    private static func metadata(_ object: KubernetesObject) -> Logger.Metadata {
        ["namespace": "\(object.namespace)", "name": "\(object.name)"]
    }

    // MARK: What is left out

    /// Why an object is not restored; nil when it is. Looks at the stored object, which has its owners and its status.
    private func reasonToSkip(
        _ stored: KubernetesObject, _ restore: VeleroRestore, _ settings: Settings
    ) async -> String? {
        if let reason = Self.reasonNeverToRestore(stored) { return reason }
        guard let workload = WorkloadCatalog.standard.workload(stored) else { return nil }
        if let reason = await reasonOfOwner(workload, restore, settings) { return reason }
        guard settings.finished == .skip, let completion = workload.completion else { return nil }
        return "it \(completion == .succeeded ? "was done" : "had failed"), and would run again"
    }

    /// Objects that controllers make of others, by names or uids of the cluster that they come from.
    private static func reasonNeverToRestore(_ object: KubernetesObject) -> String? {
        if KueueWorkload().kind.matches(object) { return "Kueue makes a new one of the restored job" }
        if ResourceKind.volcanoCommand.matches(object) { return "it would stop or start a job once more" }
        if ResourceKind.nodeClaim.matches(object) { return "it would buy a node; one is made where pods need it" }
        if ResourceKind.volcanoPodGroup.matches(object), object.controller != nil {
            return "Volcano makes a new one of the restored job"
        }
        return nil
    }

    /// Why an object is left to the workload that manages it, which makes it anew once it is restored.
    private func reasonOfOwner(
        _ workload: Workload, _ restore: VeleroRestore, _ settings: Settings
    ) async -> String? {
        let object = workload.object
        guard let owner = object.controller, let kind = WorkloadCatalog.standard.kind(of: owner) else { return nil }
        let adapter = WorkloadCatalog.standard.adapter(group: kind.group, kind: kind.kind)
        if let adapter, !adapter.recreatesChildren { return nil }
        let reason = "\(owner.kind) \(owner.name) makes it anew"
        if workload.kind == Pod().kind {
            switch settings.ownedPods {
            case .skip: break
            case .restore: return nil
            case .auto:
                // What was stopped for the backup was in no file system backup of Velero's, which needs pods that run.
                if CaptureRecord.heldWith(object) != nil { break }
                // Velero brings volumes of its file system backup back through the pod, and nothing in the pod says whether
                // it has any there: data comes before a pod too many.
                guard workload.claims.isEmpty else { return nil }
                // Nothing takes over the pods of a job: they would run beside its new ones.
                guard adapter?.runsToCompletion ?? false || workload.isMarked else { return nil }
            }
        }
        // An owner that is not restored makes nothing.
        return await isRestored(kind, restore) ? reason : nil
    }

    /// Whether all objects of a kind are surely in the backup and in the restore.
    private func isRestored(_ kind: ResourceKind, _ restore: VeleroRestore) async -> Bool {
        guard restore.object.takes(kind) else { return false }
        let namespace = restore.namespace.isEmpty ? environment.namespace : restore.namespace
        let place = ResourceIdentifier(
            group: "velero.io", resource: "backups", namespace: namespace, name: restore.backupName)
        do throws(VeleroError) {
            return try await environment.cluster.object(place)?.takes(kind) ?? false
        } catch {
            environment.logger.info("what backup \(restore.backupName) holds is not known: \(error)")
            return false
        }
    }

    // MARK: Operations

    func progress(operation: String, restore: [UInt8]) async throws(VeleroError) -> OperationStatus {
        OperationAnswers.progress(operation, of: restore, kinds: [.workloadRestore])
    }

    func cancel(operation: String, restore: [UInt8]) async throws(VeleroError) {
        OperationAnswers.cancel(operation, environment.logger)
    }

    /// Outcomes ask Velero to wait for nothing: a claim may be bound only when a pod is scheduled, so waiting for claims
    /// would never end, and what keeps a workload from running before its data is there is its gate.
    func areReady(_ items: [ResourceIdentifier], restore: [UInt8]) async throws(VeleroError) -> Bool { true }
}
