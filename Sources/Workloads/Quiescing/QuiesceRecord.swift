package import Basics
package import Kubernetes

/// What came of quiescing a workload: what was asked, what answered, how long it stood still. It goes into the snapshot.
package struct QuiesceRecord: Sendable {
    package var workload: WorkloadReference
    package var consistency: QuiescePolicy.Consistency
    /// How it was asked for a checkpoint; empty when it was not.
    package var request = ""
    /// What each pod that was asked answered.
    package var answers: [(pod: String, text: String)] = []
    /// The newest complete checkpoint before it was asked, and the one that it wrote then; nil where nobody saw one.
    package var before: SeenCheckpoint?
    package var after: SeenCheckpoint?
    /// What a restore would go on from; nil until somebody has looked at what was taken.
    package var recovery: RecoveryPoint?
    /// When each step began, by the cluster's clock.
    package var times: [QuiesceJournal.Step: Timestamp] = [:]
    /// Seconds from the first change that stopped it to the last that let it go; nil while it is stopped, 0 when it never
    /// was.
    package var pauseSeconds: Double?
    /// When the first change that stopped it was made.
    var stopped: ContinuousClock.Instant?
    /// What users should know: traps that were overridden, fields that somebody changed meanwhile.
    package var remarks: [String] = []

    /// For a workload that runs on and wrote nothing for us.
    static let notAsked =
        "it was not asked for a checkpoint, for nothing says how (an annotation, a policy file, an option): the last complete one is what counts"

    package init(workload: WorkloadReference, consistency: QuiescePolicy.Consistency) {
        self.workload = workload
        self.consistency = consistency
    }

    /// When what a restore goes on from was as it is: when it was stopped or, where it ran on, when it was taken.
    package var taken: Timestamp? {
        times[.stopping] ?? times[.captured] ?? times[.checkpointed] ?? times[.requested]
    }

    /// For a snapshot and for `--json`.
    package var json: JSONValue {
        var object = JSONObject()
        object["workload"] = .string("\(workload)")
        object["consistency"] = .string(consistency.rawValue)
        object["request"] = .string(request)
        object["answers"] = .array(answers.map { ["pod": .string($0.pod), "said": .string($0.text)] })
        if let before { object["checkpoint_before"] = before.json }
        if let after { object["checkpoint_after"] = after.json }
        if let recovery { object["recovery_point"] = recovery.json }
        var steps = JSONObject()
        for (step, time) in times { steps[step.rawValue] = .string(CalendarTime(time).microsecondText) }
        object["times"] = .object(steps)
        if let pauseSeconds { object["pause_seconds"] = JSONNumber("\(pauseSeconds)").map { .number($0) } ?? .null }
        object["remarks"] = .array(remarks.map { .string($0) })
        return .object(object)
    }
}
