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
    /// When each step began, by the cluster's clock.
    package var times: [QuiesceJournal.Step: Timestamp] = [:]
    /// Seconds from the first change that stopped it to the last that let it go; nil while it is stopped, 0 when it never
    /// was.
    package var pauseSeconds: Double?
    /// When the first change that stopped it was made.
    var stopped: ContinuousClock.Instant?
    /// What users should know: traps that were overridden, fields that somebody changed meanwhile.
    package var remarks: [String] = []

    package init(workload: WorkloadReference, consistency: QuiescePolicy.Consistency) {
        self.workload = workload
        self.consistency = consistency
    }

    /// For a snapshot and for `--json`.
    package var json: JSONValue {
        var object = JSONObject()
        object["workload"] = .string("\(workload)")
        object["consistency"] = .string(consistency.rawValue)
        object["request"] = .string(request)
        object["answers"] = .array(answers.map { ["pod": .string($0.pod), "said": .string($0.text)] })
        if let before { object["checkpoint_before"] = Self.json(before) }
        if let after { object["checkpoint_after"] = Self.json(after) }
        var steps = JSONObject()
        for (step, time) in times { steps[step.rawValue] = .string(CalendarTime(time).microsecondText) }
        object["times"] = .object(steps)
        if let pauseSeconds { object["pause_seconds"] = JSONNumber("\(pauseSeconds)").map { .number($0) } ?? .null }
        object["remarks"] = .array(remarks.map { .string($0) })
        return .object(object)
    }

    private static func json(_ checkpoint: SeenCheckpoint) -> JSONValue {
        var object = JSONObject()
        object["claim"] = .string(checkpoint.claim)
        object["path"] = .string(checkpoint.path)
        object["format"] = .string(checkpoint.format)
        if let step = checkpoint.step { object["step"] = .integer(step) }
        object["modified"] = .string(CalendarTime(checkpoint.modified).text)
        return .object(object)
    }
}
