internal import Kubernetes

/// Takes away the claim that a transfer's mover works with, and its volume, whatever the storage class says of volumes that
/// are let go.
struct VolumeRemoval: Sendable {
    let client: KubernetesClient
    let transfer: Transfer

    /// Takes the claim away with its volume. Answers what it waits for; nil when both are gone.
    func removeClaim() async throws -> String? {
        let (namespace, name) = (transfer.namespace, transfer.exposedName)
        guard let claim = try await client.find(.persistentVolumeClaims, namespace: namespace, name: name) else {
            return nil
        }
        if let volume = try await volume(of: claim) {
            try await setPolicy("Delete", of: volume)
        }
        if !claim.isBeingDeleted {
            try await client.delete(
                .persistentVolumeClaims, namespace: namespace, name: name, DeleteOptions(uid: claim.uid))
        }
        guard try await client.find(.persistentVolumeClaims, namespace: namespace, name: name) != nil else {
            return nil
        }
        return "\(claim.label) to be deleted, which the mover's pod may still use"
    }

    /// The volume that the claim is bound to; nil for none.
    func volume(of claim: KubernetesObject) async throws -> KubernetesObject? {
        guard let name = claim["spec", "volumeName"]?.string, !name.isEmpty,
            let volume = try await client.find(.persistentVolumes, name: name),
            volume["spec", "claimRef", "uid"]?.string == claim.uid
        else { return nil }
        return volume
    }

    /// Sets what becomes of a volume that is let go.
    func setPolicy(_ policy: String, of volume: KubernetesObject) async throws {
        guard volume["spec", "persistentVolumeReclaimPolicy"]?.string != policy else { return }
        do throws(KubernetesError) {
            _ = try await client.patch(
                .persistentVolumes, name: volume.name,
                .merge(["spec": ["persistentVolumeReclaimPolicy": .string(policy)]]))
        } catch {
            guard error.code == .notFound else { throw error }
        }
    }
}
