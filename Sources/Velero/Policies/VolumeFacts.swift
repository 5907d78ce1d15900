package import Kubernetes

/// What conditions of volume policies look at: a claim and, where it is bound and can be read, its volume.
package struct VolumeFacts: Sendable {
    package let claim: KubernetesObject
    /// Nil when it is not bound, or its volume cannot be read.
    package let volume: KubernetesObject?

    package init(claim: KubernetesObject, volume: KubernetesObject?) {
        self.claim = claim
        self.volume = volume
    }

    /// The volume's name; empty when the claim is not bound.
    var volumeName: String { claim["spec", "volumeName"]?.string ?? "" }

    /// Whether the claim has a volume that is not known here.
    var lacksVolume: Bool { volume == nil && !volumeName.isEmpty }

    /// The size of the volume, nothing for a claim that is not bound; nil when it is malformed. The claim's status has the
    /// size of its volume, so this is known without it.
    var capacity: Quantity? {
        let source = volume?["spec", "capacity", "storage"] ?? claim["status", "capacity", "storage"]
        guard let source, volume != nil || lacksVolume else { return Quantity(0) }
        return PolicyText.plain(source).flatMap(Quantity.init)
    }

    /// The volume's class, which its claim names as well; empty for none.
    var storageClass: String {
        if let volume { return volume["spec", "storageClassName"]?.string ?? "" }
        return lacksVolume ? claim["spec", "storageClassName"]?.string ?? "" : ""
    }

    /// The member of the volume's spec that says what it is on: `csi`, `nfs`, …; nil when there is none.
    func source(_ type: String) -> JSONValue? { volume?["spec", .key(type)].flatMap { $0.isNull ? nil : $0 } }

    /// The name of that member; empty when the volume has none that is known.
    var type: String { Self.types.first { source($0) != nil } ?? "" }

    /// Velero's names of volume types, which are those of the members of a volume's spec.
    private static let types = [
        "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flocker", "flexVolume",
        "gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk",
        "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
    ]
}
