internal import Basics
internal import Kubernetes

/// How a mover's Job stands, told from the Job and its pods. Pure.
enum MoverStanding: Equatable, Sendable {
    /// Not begun; the reason where there is one: no node fits, the volume cannot be mounted, the image cannot be had.
    case waiting(String)
    /// The pod of this name runs.
    case running(String)
    /// A pod has said how it went, and nobody needs to try again.
    case ended(MoverResult)
    /// It will not come to an end by itself, and why.
    case failed(String)

    /// From the Job, nil when it is gone, and its pods. `claim` is whose volume it is.
    init(job: KubernetesObject?, pods: [KubernetesObject], claim: String) {
        var lastWords = ""
        let ordered = pods.sorted {
            ($0.creationTimestamp ?? .init(seconds: 0), $0.name) < ($1.creationTimestamp ?? .init(seconds: 0), $1.name)
        }
        for pod in ordered {
            guard let ended = Self.container(of: pod)?["state", "terminated"] else { continue }
            let message = ended["message"]?.string ?? ""
            if let result = MoverResult(parsing: message, claim: claim) {
                if result.isFinal {
                    self = .ended(result)
                    return
                }
                lastWords = result.error
            } else {
                let reason = ended["reason"]?.string ?? "ended"
                lastWords = "\(reason) (exit code \(ended["exitCode"]?.int64 ?? 0))"
                if let line = message.split(whereSeparator: \.isNewline).last { lastWords += ": \(line.prefix(500))" }
            }
        }
        guard let job else {
            self = .failed("its Job was deleted" + (lastWords.isEmpty ? "" : "; \(lastWords)"))
            return
        }
        if let condition = Self.condition("Failed", of: job) {
            let reason = condition["reason"]?.string ?? "Failed"
            self = .failed([reason, lastWords].filter { !$0.isEmpty }.joined(separator: ": "))
            return
        }
        if ordered.contains(where: { $0["status", "phase"] == "Succeeded" }) {
            self = .failed(
                "its pod ended well and said nothing that makes sense; is the image's becalm of this version?")
            return
        }
        if Self.isComplete(job) {
            self = .failed("it came to its end, and its pod was removed before anybody heard what it said")
            return
        }
        let living = ordered.last { pod in
            let phase = pod["status", "phase"]?.string
            return !pod.isBeingDeleted && phase != "Succeeded" && phase != "Failed"
        }
        guard let living else {
            self = .waiting(lastWords.isEmpty ? "" : "the last pod ended so: \(lastWords)")
            return
        }
        if Self.container(of: living)?["state", "running"]?.object != nil {
            self = .running(living.name)
        } else {
            self = .waiting(Self.obstacle(living))
        }
    }

    /// How each pod of a Job stands that has so many to bring to an end: for an Indexed Job each index, in their order.
    ///
    /// An index whose pods have failed more often than the Job means one to (`backoffLimit` over the indexes) has failed, also
    /// where the server counts all of them together.
    static func each(
        of indexes: Int, job: KubernetesObject?, pods: [KubernetesObject], claim: String
    ) -> [MoverStanding] {
        guard indexes > 1 else { return [MoverStanding(job: job, pods: pods, claim: claim)] }
        let retries = job?["spec", "backoffLimit"]?.int64.map { Int($0) / indexes }
        return (0..<indexes).map { index in
            let own = pods.filter { Self.index(of: $0) == index }
            let standing = MoverStanding(job: job, pods: own, claim: claim)
            let failures = own.count { $0["status", "phase"] == "Failed" }
            switch standing {
            case .failed(let reason): return .failed("share \(index + 1) of \(indexes): \(reason)")
            case .waiting(let words) where failures > retries ?? .max:
                let advice = words.isEmpty ? "" : ", \(words)"
                return .failed("share \(index + 1) of \(indexes): its pods have failed \(failures) times\(advice)")
            default: return standing
            }
        }
    }

    /// What says most of why a Job with these standings has failed: that of an index with pods that failed; nil where none
    /// has. The Job's own end fails every index.
    static func failure(_ standings: [MoverStanding], pods: [KubernetesObject]) -> String? {
        var found: String?
        for (index, standing) in standings.enumerated() {
            guard case .failed(let reason) = standing else { continue }
            let isItsOwn = pods.contains { $0["status", "phase"] == "Failed" && Self.index(of: $0) ?? 0 == index }
            if isItsOwn { return reason }
            found = found ?? reason
        }
        return found
    }

    /// Whether the cluster says of a Job that all its pods have ended well.
    static func isComplete(_ job: KubernetesObject) -> Bool { condition("Complete", of: job) != nil }

    /// Whether the cluster says of a Job that it makes no more pods: all have ended well, or it has failed.
    static func isOver(_ job: KubernetesObject) -> Bool { isComplete(job) || condition("Failed", of: job) != nil }

    /// A condition that is true.
    private static func condition(_ type: String, of job: KubernetesObject) -> JSONValue? {
        job["status", "conditions"]?.array?.first { $0["type"]?.string == type && $0["status"] == "True" }
    }

    /// The index of a pod of an Indexed Job; nil for any other.
    static func index(of pod: KubernetesObject) -> Int? {
        (pod.annotations[MoverJob.indexAnnotation] ?? pod.labels[MoverJob.indexAnnotation]).flatMap { Int($0) }
    }

    /// Those of `pods` that the Job with this uid has made.
    static func pods(_ pods: [KubernetesObject], ofJob uid: String) -> [KubernetesObject] {
        pods.filter { pod in pod.ownerReferences.contains { $0.uid == uid } }
    }

    private static func container(of pod: KubernetesObject) -> JSONValue? {
        pod["status", "containerStatuses"]?.array?.first
    }

    /// Why a pod has not begun; empty where it only takes its time.
    private static func obstacle(_ pod: KubernetesObject) -> String {
        for condition in pod["status", "conditions"]?.array ?? []
        where condition["type"] == "PodScheduled" && condition["status"] == "False" {
            return [condition["reason"], condition["message"]].compactMap { $0?.string }.joined(separator: ": ")
        }
        let waiting = container(of: pod)?["state", "waiting"]
        guard let reason = waiting?["reason"]?.string, !ordinary.contains(reason) else { return "" }
        return [reason, waiting?["message"]?.string ?? ""].filter { !$0.isEmpty }.joined(separator: ": ")
    }

    /// What every pod goes through.
    private static let ordinary: Set = ["ContainerCreating", "PodInitializing"]

    /// Obstacles that no time takes away.
    static let hopeless: Set = ["InvalidImageName", "ErrImageNeverPull"]
}
