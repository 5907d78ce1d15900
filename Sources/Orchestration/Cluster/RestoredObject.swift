internal import Kubernetes
internal import Workloads

/// Objects of a snapshot as they are created in a cluster: without what the other cluster wrote. Pure.
enum RestoredObject {
    /// What a server or a controller writes into annotations, or a tool that would take them for its own last word.
    private static let foreignAnnotations = [
        "pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller",
        "volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/selected-node", "volume.kubernetes.io/storage-resizer",
        "kubectl.kubernetes.io/last-applied-configuration", "control-plane.alpha.kubernetes.io/leader",
    ]

    private static let generatedMetadata = [
        "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
        "deletionGracePeriodSeconds", "managedFields", "selfLink", "ownerReferences", "finalizers",
    ]

    /// Any object, in `namespace`.
    static func plain(_ object: KubernetesObject, namespace: String) -> KubernetesObject {
        var object = object
        for key in generatedMetadata { object.remove(at: ["metadata", .key(key)]) }
        for key in foreignAnnotations { object.setAnnotation(key, nil) }
        if object["metadata", "annotations"]?.object?.isEmpty == true {
            object.remove(at: ["metadata", "annotations"])
        }
        object.remove(at: ["status"])
        if !object.namespace.isEmpty { object.namespace = namespace }
        switch object.kind {
        case "Service" where object.group.isEmpty:
            // `None` is the user's own word; addresses are the other cluster's.
            if object["spec", "clusterIP"] != "None" {
                object.remove(at: ["spec", "clusterIP"])
                object.remove(at: ["spec", "clusterIPs"])
            }
            object.remove(at: ["spec", "healthCheckNodePort"])
            for index in (object["spec", "ports"]?.array ?? []).indices {
                object.remove(at: ["spec", "ports", .index(index), "nodePort"])
            }
        case "ServiceAccount" where object.group.isEmpty:
            // Tokens of the other cluster, by generated names.
            object.remove(at: ["secrets"])
        default: break
        }
        return object
    }

    /// A claim, to be bound to a new volume: its storage class mapped, as large as the volume was.
    static func claim(
        _ stored: KubernetesObject, namespace: String, storageClasses: [String: String], snapshot: String
    ) -> KubernetesObject {
        var claim = plain(stored, namespace: namespace)
        for member in ["volumeName", "dataSource", "dataSourceRef", "volumeAttributesClassName"] {
            claim.remove(at: ["spec", .key(member)])
        }
        // What selected the other cluster's volumes by label.
        claim.remove(at: ["spec", "selector"])
        let name = stored["spec", "storageClassName"]?.string ?? ""
        if let mapped = storageClasses[name] {
            if mapped.isEmpty {
                claim.remove(at: ["spec", "storageClassName"])
            } else {
                set(.string(mapped), at: ["spec", "storageClassName"], in: &claim)
            }
        }
        if let capacity = stored["status", "capacity", "storage"], let size = capacity.string.flatMap({ Quantity($0) }),
            let asked = stored["spec", "resources", "requests", "storage"]?.string.flatMap({ Quantity($0) }),
            asked < size
        {
            set(capacity, at: ["spec", "resources", "requests", "storage"], in: &claim)
        }
        claim.setAnnotation(BecalmAnnotation.volumeSnapshot, snapshot)
        claim.setAnnotation(pending, "true")
        return claim
    }

    /// On a claim: its data is not all there yet.
    static let pending = "becalm.io/restore-pending"

    /// A namespace, with its labels (those of pod security among them) and annotations.
    static func namespace(_ stored: KubernetesObject?, name: String) -> KubernetesObject {
        var object = KubernetesObject(APIResource.namespaces.groupVersionKind, name: name)
        for (key, value) in stored?.labels ?? [:] where key != "kubernetes.io/metadata.name" {
            object.setLabel(key, value)
        }
        for (key, value) in stored?.annotations ?? [:] where !foreignAnnotations.contains(key) {
            object.setAnnotation(key, value)
        }
        return object
    }

    /// Secrets that a server makes for itself.
    static func isGenerated(_ object: KubernetesObject) -> Bool {
        object.kind == "Secret" && object["type"] == "kubernetes.io/service-account-token"
    }

    private static func set(_ value: JSONValue, at path: JSONPath, in object: inout KubernetesObject) {
        do throws(JSONPathError) {
            try object.set(value, at: path)
        } catch {
            preconditionFailure("a claim has a spec: \(error)")
        }
    }
}
