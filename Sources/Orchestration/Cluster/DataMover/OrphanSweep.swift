internal import Kubernetes

/// Takes away what was made for transfers that are gone, though their finalizer should have kept them: somebody took that off,
/// or Velero was removed while data was moved.
struct OrphanSweep: Sendable {
    let worker: TransferWorker

    private var client: KubernetesClient { worker.client }
    private var namespace: String { worker.settings.namespace }

    /// Looks for such things, and takes one step of removing each. Throws what the cluster refuses.
    func run() async throws {
        for name in try await names() {
            guard let orphan = Transfer(named: name), orphan.namespace == namespace,
                try await worker.store.find(orphan.kind, orphan.object.name)?.object.uid != orphan.object.uid
            else { continue }
            worker.report(.trouble("\(orphan.label) is gone and has left something, which is removed now"))
            try await remove(orphan)
        }
    }

    /// Whose the things are that bear our label.
    private func names() async throws -> Set<String> {
        let ours = ListOptions(labels: LabelSelector([.init(DataMover.label, .exists)]))
        var objects = try await client.list(.persistentVolumeClaims, namespace: namespace, ours).items
        objects += try await client.list(.persistentVolumes, ours).items
        for kind in ["VolumeSnapshot", "VolumeSnapshotContent"] {
            guard let resource = try await client.resource(group: ClaimSnapshots.group, kind: kind) else { continue }
            objects += try await client.list(
                resource, namespace: resource.isNamespaced ? namespace : "", ours
            ).items
        }
        return Set(objects.compactMap { $0.annotations[DataMover.transferAnnotation] })
    }

    private func remove(_ orphan: Transfer) async throws {
        try await worker.mover(of: orphan).cancel()
        await worker.sweep(orphan, forgetsSnapshots: orphan.kind == .upload, forgetsLease: true)
        _ =
            orphan.kind == .upload
            ? try await SnapshotExposure(client: client, upload: orphan).remove()
            : try await worker.handover(orphan, waited: 0).remove()
    }
}
