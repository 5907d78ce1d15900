internal import Kubernetes

/// Where a pod is among those of its workload: rank 0, which tells the others in most frameworks, comes first.
struct PodRank: Sendable {
    private let isLeader: Bool
    /// What its kind of pod is called within the workload; empty where nothing says.
    private let role: String
    /// Of the group of pods that it is in: a Job of a JobSet, a replica of a LeaderWorkerSet; nil where nothing says.
    private let group: Int64?
    /// Within its group; nil where nothing says.
    private let index: Int64?
    private let name: String

    private static let roles = ["training.kubeflow.org/replica-type", "job-name", "volcano.sh/task-spec"]
    private static let groups = ["jobset.sigs.k8s.io/job-global-index", "leaderworkerset.sigs.k8s.io/group-index"]
    private static let indexes = [
        "batch.kubernetes.io/job-completion-index", "training.kubeflow.org/replica-index",
        "leaderworkerset.sigs.k8s.io/worker-index", "apps.kubernetes.io/pod-index", "volcano.sh/task-index",
    ]

    /// What a pod's labels say of it.
    init(_ pod: KubernetesObject) {
        let labels = pod.labels
        role = Self.roles.lazy.compactMap { labels[$0] }.first?.lowercased() ?? ""
        let isLeadingType = ["master", "chief", "launcher"].contains(
            labels["training.kubeflow.org/replica-type"]?.lowercased())
        isLeader =
            isLeadingType || labels["training.kubeflow.org/job-role"] == "master"
            || labels["ray.io/node-type"] == "head"
        func number(_ keys: [String]) -> Int64? {
            keys.lazy.compactMap { (labels[$0] ?? pod.annotations[$0]).flatMap(Int64.init) }.first
        }
        group = number(Self.groups)
        index = number(Self.indexes)
        name = pod.name
    }

    /// A leader, then by the indexes that controllers write, then by name, of which `x-9` comes before `x-10`.
    private var order: (Int, Int64, Int64, Int, String) {
        (isLeader ? 0 : 1, group ?? 0, index ?? 0, name.utf8.count, name)
    }

    /// Whether more than the name tells the two apart, and this one comes first.
    func isKnownToPrecede(_ other: PodRank) -> Bool {
        let (mine, its) = (order, other.order)
        return (mine.0, mine.1, mine.2) < (its.0, its.1, its.2)
    }

    /// Whether both are pods of one rank, the one in the place of the other.
    private func isKnownToBe(_ other: PodRank) -> Bool {
        let isNumbered = isLeader || index != nil
        return isNumbered && isLeader == other.isLeader && role == other.role && group == other.group
            && index == other.index
    }

    /// Pods with rank 0 first.
    static func sorted(_ pods: [KubernetesObject]) -> [KubernetesObject] {
        pods.map { (pod: $0, order: PodRank($0).order) }.sorted { $0.order < $1.order }.map(\.pod)
    }

    /// Those of `pods` that are not among `running`, and whose rank nobody has taken over, rank 0 first.
    static func missing(_ pods: [KubernetesObject], running: [KubernetesObject]) -> [KubernetesObject] {
        let names = Set(running.map(\.name))
        let ranks = running.map(PodRank.init)
        return sorted(pods).filter { pod in
            let rank = PodRank(pod)
            return !names.contains(pod.name) && !ranks.contains { $0.isKnownToBe(rank) }
        }
    }
}
