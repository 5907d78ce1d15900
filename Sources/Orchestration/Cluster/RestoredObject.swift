package import Kubernetes
internal import Workloads

/// Makes of stored objects what can be created in another cluster: without what a server or a controller wrote.
package enum RestoredObject {
    /// Annotations that controllers of volumes write, which bind a claim to the volume that it had.
    private static let volumeAnnotations = [
        "pv.kubernetes.io/", "volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/",
        "velero.io/", "control-plane.alpha.kubernetes.io/leader",
    ]

    /// On a claim: the snapshot that is being restored into it. It goes when all of its data is there.
    package static let restoring = "becalm.io/restoring"
    /// Says of a claim that its mover begins once everything else of the restore is there: the uid of that restore.
    package static let restoreBegins = "becalm.io/restore-begins"
    /// On a claim: the snapshot that was being restored into it when somebody took its data as it was (`GateLifter`), or when it
    /// was backed up. No restore writes into it, and workloads that restores hold do not take it for whole.
    package static let incomplete = "becalm.io/incomplete"

    /// Whether a claim's data is not known to be whole: a restore is at work on it, failed, or was ended by somebody.
    package static func isPartial(_ claim: KubernetesObject) -> Bool {
        claim.annotations[restoring] != nil || claim.annotations[incomplete] != nil
    }

    /// Has a stored claim say what is so of its data wherever it is restored to: what was not whole is not, whatever became of
    /// the restore that was at work on it then.
    package static func carryMarks(_ claim: inout KubernetesObject) {
        claim.setAnnotation(incomplete, claim.annotations[incomplete] ?? claim.annotations[restoring])
        for mark in [restoring, restoreBegins] { claim.setAnnotation(mark, nil) }
    }

    /// Has a claim say of its data what `live`, which stays as it is, says of its own.
    package static func copyMarks(of live: KubernetesObject, to claim: inout KubernetesObject) {
        for mark in [restoring, restoreBegins, incomplete] { claim.setAnnotation(mark, live.annotations[mark]) }
    }

    /// A claim without its volume: a new one is made for it, which has at least the room that the stored one's had.
    /// `snapshot` is what is restored into it; nil for one that stays empty.
    package static func claim(
        _ stored: KubernetesObject, namespace: String, classes: [String: String], snapshot: String?
    ) throws -> KubernetesObject {
        var claim = plain(stored, namespace: namespace)
        if let capacity = stored["status", "capacity", "storage"]?.string { try claim.requestStorage(capacity) }
        for key in claim.annotations.keys where volumeAnnotations.contains(where: { key.hasPrefix($0) }) {
            claim.setAnnotation(key, nil)
        }
        for member in ["volumeName", "dataSource", "dataSourceRef"] { claim.remove(at: ["spec", .key(member)]) }
        if let name = claim["spec", "storageClassName"]?.string, let other = classes[name] {
            try claim.set(.string(other), at: ["spec", "storageClassName"])
        }
        // A selector finds volumes of the other cluster.
        claim.remove(at: ["spec", "selector"])
        carryMarks(&claim)
        if let snapshot { claim.setAnnotation(restoring, snapshot) }
        return claim
    }

    /// Any object that is neither the workload nor a claim.
    static func plain(_ stored: KubernetesObject, namespace: String) -> KubernetesObject {
        var object = stored
        object.remove(at: ["status"])
        for key in [
            "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
            "deletionGracePeriodSeconds", "managedFields", "selfLink", "ownerReferences", "finalizers",
        ] {
            object.remove(at: ["metadata", .key(key)])
        }
        if !object.namespace.isEmpty { object.namespace = namespace }
        // One that was taken while it was drained.
        if ResourceKind.httpRoute.matches(object) { try? RouteDrain.openAll(&object) }
        switch object.kind {
        case "ServiceAccount" where object.group.isEmpty:
            // Tokens that the other cluster made (before 1.24).
            object.remove(at: ["secrets"])
        case "Service" where object.group.isEmpty:
            let isHeadless = object["spec", "clusterIP"]?.string == "None"
            if !isHeadless {
                object.remove(at: ["spec", "clusterIP"])
                object.remove(at: ["spec", "clusterIPs"])
            }
            object.remove(at: ["spec", "healthCheckNodePort"])
            // A node port is one of the whole cluster's.
            for index in (object["spec", "ports"]?.array ?? []).indices {
                object.remove(at: ["spec", "ports", .index(index), "nodePort"])
            }
        default: break
        }
        return object
    }

    /// A namespace with what its users wrote.
    static func namespace(_ stored: KubernetesObject?, name: String) -> KubernetesObject {
        var object = KubernetesObject(APIResource.namespaces.groupVersionKind, name: name)
        for (key, value) in stored?.labels ?? [:] where key != "kubernetes.io/metadata.name" {
            object.setLabel(key, value)
        }
        for (key, value) in stored?.annotations ?? [:] where !key.hasPrefix("openshift.io/sa.scc") {
            object.setAnnotation(key, value)
        }
        object.setAnnotation("kubectl.kubernetes.io/last-applied-configuration", nil)
        return object
    }
}
