package import Kubernetes
internal import Workloads

/// Where a mover's pod is to run, and as what, so that it gets at the volume: taken from the pods that use it.
package struct MoverPlacement: Sendable, Equatable {
    /// The node that has the volume mounted: a volume that one node at a time can mount is read there. Nil for any.
    package var node: String?
    /// The node that is best where any will do: the volume is attached to it still.
    package var preferredNode: String?
    package var nodeSelector: [String: String] = [:]
    /// `nodeAffinity` of the workload's pods.
    package var nodeAffinity: JSONValue?
    package var tolerations: [JSONValue] = []
    /// Groups that may read the volume's files.
    package var groups: [Int64] = []
    package var seLinuxOptions: JSONValue?
    /// Other claims of the same pod, which are scheduled with this one so that all of them come to be where one node
    /// reaches them. They are not mounted: the kubelet sees to what a container uses, the scheduler to all.
    package var companions: [String] = []

    package init() {}

    /// Beside a pod that runs, on its node.
    package init(beside pod: KubernetesObject) {
        self.init(like: pod.json)
        node = pod["spec", "nodeName"]?.string
    }

    /// Beside the pod among `pods` that has the claim mounted, while only its node reaches the volume; else where that pod
    /// may run, or anywhere.
    package init(of claim: KubernetesObject, pods: [KubernetesObject]) {
        let user = pods.first { pod in
            let phase = pod["status", "phase"]?.string
            return phase != "Succeeded" && phase != "Failed"
                && Pod().podTemplates(pod).contains { $0.claimNames.contains(claim.name) }
        }
        guard let user else {
            self.init()
            return
        }
        let modes = claim.accessModes
        let isShared = modes.contains("ReadWriteMany") || modes.contains("ReadOnlyMany")
        if isShared { self.init(like: user.json) } else { self.init(beside: user) }
    }

    /// What the containers ask for besides what every node has, such as GPUs: the taints of such nodes are called so, and a
    /// cluster may have the toleration given to pods that ask (Kubernetes, admission plugin ExtendedResourceToleration), which
    /// no template shows and a mover does not.
    private static func extendedResources(_ spec: JSONValue) -> [String] {
        var names: Set<String> = []
        for container in (spec["containers"]?.array ?? []) + (spec["initContainers"]?.array ?? []) {
            for kind in ["limits", "requests"] {
                for member in container["resources", .key(kind)]?.object?.members ?? [] where member.key.contains("/") {
                    names.insert(member.key)
                }
            }
        }
        return names.sorted()
    }

    /// Where pods made from `template` (an object with `spec`) would run.
    package init(like template: JSONValue) {
        let spec = template["spec"] ?? .null
        for member in spec["nodeSelector"]?.object?.members ?? [] {
            nodeSelector[member.key] = member.value.string
        }
        nodeAffinity = spec["affinity", "nodeAffinity"]
        tolerations = spec["tolerations"]?.array ?? []
        for name in Self.extendedResources(spec) {
            let toleration: JSONValue = ["effect": "NoSchedule", "key": .string(name), "operator": "Exists"]
            if !tolerations.contains(toleration) { tolerations.append(toleration) }
        }
        let security = spec["securityContext"]
        groups = (security?["supplementalGroups"]?.array ?? []).compactMap(\.int64)
        if let group = security?["fsGroup"]?.int64 { groups.append(group) }
        seLinuxOptions = security?["seLinuxOptions"]
    }
}
