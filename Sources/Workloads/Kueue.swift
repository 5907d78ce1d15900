internal import Kubernetes

/// What Kueue writes into the objects that it manages (0.19, `pkg/controller/constants` and the integrations' own).
enum Kueue {
    static let queueName = "kueue.x-k8s.io/queue-name"
    /// Who keeps a workload from being admitted: names between commas, set when it is created, only removed later.
    static let admissionGatedBy = "kueue.x-k8s.io/admission-gated-by"

    /// Kinds whose pods Kueue admits, not the objects: each pod of a Deployment has a Workload of its own, each group of a
    /// LeaderWorkerSet one, and a StatefulSet's is put on hold at 0 replicas and admitted again after. Scaling them to 0 and
    /// back is what Kueue supports (0.19, the webhooks of `pkg/controller/jobs/{deployment,statefulset,leaderworkerset}`);
    /// a Workload that is deactivated has pods deleted that their controller makes anew at once.
    static let servingKinds: Set = [Deployment().kind, StatefulSet().kind, LeaderWorkerSet().kind]

    /// Whether Kueue manages an object.
    static func manages(_ object: KubernetesObject) -> Bool { queue(of: object) != nil }

    /// The queue that admits an object; the annotation is of versions before 0.2.
    static func queue(of object: KubernetesObject) -> String? {
        (object.labels[queueName] ?? object.annotations[queueName]).flatMap { $0.isEmpty ? nil : $0 }
    }

    private static let prefix = "kueue.x-k8s.io/"

    /// Labels and annotations that Kueue makes of the cluster at hand; those that users write stay.
    private static func isGenerated(_ key: String) -> Bool {
        guard key.hasPrefix(prefix) else { return false }
        let name = key.dropFirst(prefix.count)
        let names: Set<Substring> = [
            "job-uid", "managed", "podset", "workload", "cluster-queue-name", "local-queue-name", "stopping",
            "role-hash",
        ]
        return names.contains(name) || name.hasPrefix("job-owner-") || name.hasPrefix("multikueue-origin")
    }

    private static let gates: Set = [
        "kueue.x-k8s.io/admission", "kueue.x-k8s.io/topology", "kueue.x-k8s.io/elastic-job",
    ]
    private static let finalizers: Set = ["kueue.x-k8s.io/resource-in-use", "kueue.x-k8s.io/managed"]

    /// Takes all of it out of an object and the pods that it describes.
    static func strip(_ object: inout KubernetesObject, templates: [JSONPath]) {
        object.finalizers.removeAll { finalizers.contains($0) }
        for path in [JSONPath([])] + templates {
            for map in ["labels", "annotations"] {
                object.removeMembers(of: JSONPath(path.elements + ["metadata", .key(map)]), where: isGenerated)
            }
            object.removeElements(of: JSONPath(path.elements + ["spec", "schedulingGates"])) {
                $0["name"]?.string.map(gates.contains) ?? false
            }
        }
    }

    /// Adds our name to those that keep an object from being admitted.
    static func gate(_ object: inout KubernetesObject) {
        var names = gateNames(object)
        if !names.contains(BecalmAnnotation.gateName) { names.append(BecalmAnnotation.gateName) }
        object.setAnnotation(admissionGatedBy, names.joined(separator: ","))
    }

    /// Takes our name off again.
    static func ungate(_ object: inout KubernetesObject) {
        let names = gateNames(object)
        guard names.contains(BecalmAnnotation.gateName) else { return }
        let left = names.filter { $0 != BecalmAnnotation.gateName }
        if left.isEmpty {
            object.removeAnnotation(admissionGatedBy)
        } else {
            object.setAnnotation(admissionGatedBy, left.joined(separator: ","))
        }
    }

    private static func gateNames(_ object: KubernetesObject) -> [String] {
        (object.annotations[admissionGatedBy] ?? "").split(separator: ",").map { name in
            String(name.filter { $0 != " " })
        }
    }
}
