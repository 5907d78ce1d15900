internal import Kubernetes
internal import Workloads

/// Decides what a restore to a cluster does, before it does anything: what would stop it midway stops it here.
struct RestorePlanner: Sendable {
    /// An object, and how the server serves its kind.
    struct Planned: Sendable {
        var resource: APIResource
        var object: KubernetesObject
    }

    /// A volume whose data is to be restored.
    struct Volume: Sendable {
        var claim: String
        /// Where its data is in the snapshot.
        var path: [String]
        var placement: MoverPlacement
    }

    struct Plan: Sendable {
        var snapshot: String
        var namespace: KubernetesObject
        /// Claims to create; those that an earlier attempt has made are not among them.
        var claims: [KubernetesObject] = []
        var pending: [Volume] = []
        /// In the order in which they are created.
        var objects: [Planned] = []
        var workload: Planned
        /// `train/jobs.batch/run42`
        var reference: String
        var remarks: [String] = []
    }

    let client: KubernetesClient
    let request: WorkloadRestoreJourney.Request

    /// The plan. Throws `already_exists` for a workload, or a claim with other data, that is there; `no_storage_class`;
    /// `.unsupported` for a kind that the server does not serve.
    func plan(_ archive: WorkloadArchive) async throws -> Plan {
        let described = archive.description
        let target = request.namespaces[described.namespace] ?? described.namespace
        for name in request.namespaces.keys where name != described.namespace {
            throw JourneyError.usage(
                "--namespace-mapping names \(name), and the snapshot's workload is in \(described.namespace)")
        }
        let workload = try await self.workload(archive, namespace: target)
        let stored = archive.objects("namespaces").first { $0.name == described.namespace }
        var plan = Plan(
            snapshot: archive.snapshot, namespace: RestoredObject.namespace(stored, name: target),
            workload: workload.planned,
            reference: "\(target)/\(described.resource)/\(described.name)")
        try await addClaims(archive, workload.workload, to: &plan)
        try await addObjects(archive, to: &plan)
        plan.remarks += try await missing(workload.workload, plan, namespace: target)
        return plan
    }

    // MARK: The workload

    private func workload(
        _ archive: WorkloadArchive, namespace: String
    ) async throws -> (planned: Planned, workload: Workload) {
        let described = archive.description
        guard let object = archive.objects(described.resource).first(where: { $0.name == described.name }) else {
            throw JourneyError(
                .integrity, kind: "damaged",
                "the snapshot does not hold the object of its workload, \(described.reference)")
        }
        guard var workload = WorkloadCatalog.standard.workload(object) else {
            throw JourneyError(
                .failed, kind: "no_workload",
                "\(described.reference) is of no kind that this becalm knows: use a newer one")
        }
        try workload.prepareForRestore()
        var restored = workload.object
        restored.namespace = namespace
        restored.setAnnotation("kubectl.kubernetes.io/last-applied-configuration", nil)
        // The kind's version of the other cluster may not be served here, where another one is.
        var resource = try await client.resource(object.groupVersionKind)
        if resource == nil { resource = try await client.resource(group: object.group, kind: object.kind) }
        guard let resource else {
            throw JourneyError(
                .failed, kind: "kind_not_served",
                "the cluster does not serve \(object.groupVersionKind): install what defines that kind, then restore")
        }
        restored.apiVersion = resource.apiVersion
        if try await client.find(resource, namespace: namespace, name: restored.name) != nil {
            throw JourneyError(
                .failed, kind: "already_exists",
                "\(restored.label) is there already: delete it, or restore into another namespace with --namespace-mapping \(described.namespace):OTHER"
            )
        }
        return (Planned(resource: resource, object: restored), workload)
    }

    // MARK: Claims

    private func addClaims(_ archive: WorkloadArchive, _ workload: Workload, to plan: inout Plan) async throws {
        let target = plan.namespace.name
        let stored = Dictionary(archive.objects("persistentvolumeclaims").map { ($0.name, $0) }) { $1 }
        let names = archive.description.volumes.map(\.claim)
        for name in names {
            guard let object = stored[name] else {
                throw JourneyError(
                    .integrity, kind: "damaged", "the snapshot has the data of claim \(name) and not the claim")
            }
            let claim = RestoredObject.claim(
                object, namespace: target, storageClasses: request.storageClasses, snapshot: archive.snapshot)
            var placement = WorkloadVolumes.placement(of: name, workload)
            placement.companions = Self.companions(of: name, workload, among: names, stored)
            let volume = Volume(
                claim: name,
                path: [WorkloadBackupJourney.volumesDirectory, archive.description.namespace, name],
                placement: placement)
            if let there = try await client.find(.persistentVolumeClaims, namespace: target, name: name) {
                guard there.annotations[BecalmAnnotation.volumeSnapshot] == archive.snapshot else {
                    throw JourneyError(
                        .failed, kind: "already_exists",
                        "\(there.label) is there already, with other data: delete it, or restore into another namespace with --namespace-mapping"
                    )
                }
                if there.annotations[RestoredObject.pending] != nil { plan.pending.append(volume) }
                continue
            }
            try await requireClass(of: claim, object)
            plan.claims.append(claim)
            plan.pending.append(volume)
        }
        for (name, _) in stored.sorted(by: { $0.key < $1.key }) where !names.contains(name) {
            plan.remarks.append("the snapshot does not have the data of claim \(name): it is not restored")
        }
    }

    /// Claims of the same pods, for a scheduler that chooses a node for all of them; not those that only one pod may use.
    private static func companions(
        of name: String, _ workload: Workload, among names: [String], _ stored: [String: KubernetesObject]
    ) -> [String] {
        let mates = workload.podTemplates.filter { $0.claimNames.contains(name) }.flatMap(\.claimNames)
        return names.filter { mate in
            let modes = (stored[mate]?["spec", "accessModes"]?.array ?? []).compactMap(\.string)
            return mate != name && mates.contains(mate) && !modes.contains("ReadWriteOncePod")
        }
    }

    private func requireClass(of claim: KubernetesObject, _ stored: KubernetesObject) async throws {
        guard let classes = try await client.resource(group: "storage.k8s.io", kind: "StorageClass") else { return }
        let there: [KubernetesObject]
        do throws(KubernetesError) {
            there = try await client.list(classes).items
        } catch {
            // Classes are the cluster's: who may restore a namespace need not be able to read them.
            guard error.code == .forbidden else { throw error }
            return
        }
        let was = stored["spec", "storageClassName"]?.string ?? ""
        let names = there.map(\.name).sorted().joined(separator: ", ")
        let advice =
            "map it with --storage-class \(was):NAME, of \(names.isEmpty ? "which the cluster has none" : names)"
        guard let name = claim["spec", "storageClassName"]?.string else {
            let isDefault = there.contains {
                $0.annotations["storageclass.kubernetes.io/is-default-class"] == "true"
                    || $0.annotations["storageclass.beta.kubernetes.io/is-default-class"] == "true"
            }
            guard isDefault else {
                throw JourneyError(
                    .failed, kind: "no_storage_class",
                    "\(claim.label) has no storage class, and the cluster no default one: \(advice)")
            }
            return
        }
        guard !name.isEmpty else {
            throw JourneyError(
                .failed, kind: "no_storage_class",
                "\(claim.label) was bound to a volume that somebody made by hand: \(advice)")
        }
        guard there.contains(where: { $0.name == name }) else {
            throw JourneyError(
                .failed, kind: "no_storage_class",
                "\(claim.label) is of the storage class \(name), which is not there: \(advice)")
        }
    }

    // MARK: The rest

    /// What a workload's pods need is created, of these kinds and in this order.
    private static let kinds = [
        "serviceaccounts", "secrets", "configmaps", "services", "resourceclaimtemplates.resource.k8s.io",
        "trainingruntimes.trainer.kubeflow.org", "localqueues.kueue.x-k8s.io",
    ]

    private func addObjects(_ archive: WorkloadArchive, to plan: inout Plan) async throws {
        for kind in Self.kinds {
            for stored in archive.objects(kind) where !RestoredObject.isGenerated(stored) {
                guard let resource = try await client.resource(group: stored.group, kind: stored.kind) else {
                    plan.remarks.append(
                        "\(stored.label) is not restored: the cluster does not serve \(stored.groupVersionKind)")
                    continue
                }
                var object = RestoredObject.plain(stored, namespace: plan.namespace.name)
                object.apiVersion = resource.apiVersion
                plan.objects.append(Planned(resource: resource, object: object))
            }
        }
    }

    /// What the workload names and neither the cluster nor the snapshot has.
    private func missing(_ workload: Workload, _ plan: Plan, namespace: String) async throws -> [String] {
        var remarks: [String] = []
        for reference in workload.references()
        where reference.role != .claim && reference.role != .child && reference.role != .owner {
            let isPlanned = plan.objects.contains {
                $0.object.kind == reference.kind.kind && $0.object.name == reference.name
            }
            guard !isPlanned, !reference.isOptional else { continue }
            let kind = reference.kind
            let place = kind.isNamespaced ? namespace : ""
            do throws(KubernetesError) {
                if let resource = try await client.resource(group: kind.group, kind: kind.kind),
                    try await client.find(resource, namespace: place, name: reference.name) != nil
                {
                    continue
                }
            } catch {
                guard error.code == .forbidden else { throw error }
                continue
            }
            remarks.append(
                "\(workload.object.label) needs \(kind.kind) \(reference.name), which neither the snapshot nor the cluster has: its pods wait for it"
            )
        }
        return remarks
    }
}
