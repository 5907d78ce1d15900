internal import Kubernetes

/// Reads transfers from the cluster and writes how far they are.
struct TransferStore: Sendable {
    let client: KubernetesClient
    let namespace: String

    /// The kind as the server serves it. Throws `.unsupported` where it does not.
    func resource(_ kind: Transfer.Kind) async throws(KubernetesError) -> APIResource {
        let wanted = GroupVersionKind(group: "velero.io", version: "v2alpha1", kind: kind.rawValue)
        guard let resource = try await client.resourceInAnyVersion(of: wanted) else {
            throw KubernetesError(
                .unsupported,
                "the cluster serves no \(kind.rawValue) (velero.io/v2alpha1): install Velero 1.12 or newer")
        }
        return resource
    }

    /// The transfer as it is now; nil when there is none.
    func find(_ kind: Transfer.Kind, _ name: String) async throws(KubernetesError) -> Transfer? {
        let resource = try await resource(kind)
        return try await client.find(resource, namespace: namespace, name: name).flatMap { Transfer($0) }
    }

    /// Says how far it is, and that there is something to be removed in the end. Throws `.conflict` when it has changed since
    /// it was read.
    ///
    /// Velero's definitions have no status subresource (as of 1.18), so one write does both; where a server has it, a write to
    /// the object leaves the status alone, and another one follows.
    func save(_ transfer: Transfer, _ status: TransferStatus) async throws(KubernetesError) -> Transfer {
        let resource = try await resource(transfer.kind)
        var object = transfer.object
        if !object.isBeingDeleted, !transfer.hasFinalizer { object.finalizers.append(DataMover.finalizer) }
        let wanted = status.applied(to: object["status"])
        let hasSubresource = resource.subresources.contains("status")
        if hasSubresource, object != transfer.object { object = try await client.update(resource, object) }
        if object["status"] == wanted, object == transfer.object { return transfer }
        object.setMember("status", wanted)
        let stored = try await client.update(resource, object, subresource: hasSubresource ? "status" : "")
        guard let saved = Transfer(stored), stored["status", "phase"] == wanted["phase"] else {
            throw KubernetesError(
                .failed,
                "the server has not taken the status of \(transfer.label): has its definition been changed just now?")
        }
        return saved
    }

    /// Says that nothing is left to be removed.
    func release(_ transfer: Transfer) async throws(KubernetesError) -> Transfer? {
        guard transfer.hasFinalizer else { return transfer }
        var object = transfer.object
        object.finalizers.removeAll { $0 == DataMover.finalizer }
        do throws(KubernetesError) {
            return Transfer(try await client.update(try await resource(transfer.kind), object))
        } catch {
            guard error.code == .notFound else { throw error }
            return nil
        }
    }
}
