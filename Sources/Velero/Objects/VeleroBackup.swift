package import Kubernetes

/// What a plugin reads of a Backup (velero.io/v1). Tolerant: versions differ in their fields, and what is missing or of
/// another type than expected reads as absent.
package struct VeleroBackup: Sendable {
    /// Where volume policies are kept (`spec.resourcePolicy`).
    package struct PolicyReference: Hashable, Sendable {
        /// `configmap`, in whatever case; nothing else exists.
        package var kind: String
        package var name: String

        package init(kind: String, name: String) {
            self.kind = kind
            self.name = name
        }
    }

    /// Everything else.
    package let object: KubernetesObject

    package init(_ object: KubernetesObject) { self.object = object }

    /// From the JSON of a call.
    package init(parsing bytes: [UInt8]) throws(VeleroError) {
        self.init(try ActionItem.untyped(bytes, "the backup"))
    }

    /// The backup's name.
    package var name: String { object.name }
    /// Velero's own namespace.
    package var namespace: String { object.namespace }
    /// The backup's uid: the run that operations belong to.
    package var uid: String { object.uid }

    /// Where the backup stands: `InProgress`, `Finalizing`, …; empty for a new one.
    package var phase: String { object["status", "phase"]?.string ?? "" }
    /// Items are looked at once more after their operations; nothing new may begin.
    package var isFinalizing: Bool { phase == "Finalizing" || phase == "FinalizingPartiallyFailed" }

    /// Empty means all, as does `*`.
    package var includedNamespaces: [String] { object.strings("spec", "includedNamespaces") }
    /// Namespaces that are left out.
    package var excludedNamespaces: [String] { object.strings("spec", "excludedNamespaces") }
    /// Where the backup is stored.
    package var storageLocation: String { object["spec", "storageLocation"]?.string ?? "" }
    /// Whether CSI snapshots are moved to object storage.
    package var movesSnapshotData: Bool { object["spec", "snapshotMoveData"]?.bool ?? false }
    /// Who moves them; empty for Velero itself.
    package var dataMover: String { object["spec", "datamover"]?.string ?? "" }
    /// After this time the backup is deleted; nil for Velero's own default.
    package var timeToLive: GoDuration? { object.duration("spec", "ttl") }
    /// Velero gives an operation this long: four hours unless the backup says otherwise.
    package var itemOperationTimeout: GoDuration {
        object.duration("spec", "itemOperationTimeout") ?? GoDuration(seconds: 4 * 3600)
    }

    /// The volume policies; nil when there are none.
    package var resourcePolicy: PolicyReference? {
        guard let name = object["spec", "resourcePolicy", "name"]?.string, !name.isEmpty else { return nil }
        return PolicyReference(kind: object["spec", "resourcePolicy", "kind"]?.string ?? "", name: name)
    }
}

extension KubernetesObject {
    /// The texts of a list; what is none is passed over.
    func strings(_ path: JSONPath.Element...) -> [String] {
        (self[JSONPath(path)]?.array ?? []).compactMap(\.string)
    }

    /// A duration as Go spells it; nil when it is missing, malformed or not positive, which Velero takes as unset.
    func duration(_ path: JSONPath.Element...) -> GoDuration? {
        guard let text = self[JSONPath(path)]?.string, let duration = GoDuration(text), duration.nanoseconds > 0 else {
            return nil
        }
        return duration
    }
}
