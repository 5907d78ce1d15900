internal import Kubernetes
internal import Workloads

/// What a backup found of a workload, as an annotation of the stored object: `becalm.io/captured`.
struct CaptureRecord: Sendable {
    var asked: QuiescePolicy.Consistency
    /// Whether nothing of it ran, by its own status or because the backup held it.
    var isStopped: Bool
    /// Codes of what was found.
    var findings: [String]
    /// What came of holding it; nil where nobody did.
    var held: HoldRecord?
    /// Of a pod: the workload that it was stopped with, which makes it anew.
    var heldWith: String?

    /// What is to be written down of a workload.
    init(_ workload: Workload, _ policy: QuiescePolicy, _ held: HoldRecord? = nil) {
        asked = held?.asked ?? policy.consistency ?? .checkpoint
        self.held = held
        isStopped = held?.standsStill ?? false || workload.standing == .stopped
        findings = workload.findings.map(\.code)
    }

    /// The annotation's value: JSON.
    var text: String {
        var object = JSONObject()
        object["asked"] = .string(asked.rawValue)
        object["findings"] = .array(findings.map { .string($0) })
        object["standing"] = isStopped ? "stopped" : "running"
        object["version"] = 1
        if let held {
            object["hold"] = .string(held.state.rawValue)
            if let pause = held.pauseSeconds, let number = JSONNumber("\(pause)") {
                object["pause_seconds"] = .number(number)
            }
            if !held.quiesce.isNull { object["quiesce"] = held.quiesce }
            if !held.reason.isEmpty { object["reason"] = .string(held.reason) }
        }
        if let heldWith { object["held_with"] = .string(heldWith) }
        return String(decoding: JSONValue.object(object).serialized(escapingHTML: false), as: UTF8.self)
    }

    /// The workload that a stored pod was stopped with; nil for one that ran on.
    static func heldWith(_ pod: KubernetesObject) -> String? {
        guard let text = pod.annotations[BecalmAnnotation.captured], let json = try? JSONValue(parsing: text) else {
            return nil
        }
        return json["held_with"]?.string
    }
}
