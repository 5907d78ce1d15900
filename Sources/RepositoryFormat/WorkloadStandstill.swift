/// How the workload that a snapshot is of was brought to a standstill while it was read, for the snapshot's manifest. Times are
/// RFC 3339.
package struct WorkloadStandstill: Codable, Hashable, Sendable {
    /// A complete checkpoint.
    package struct Checkpoint: Codable, Hashable, Sendable {
        package var path: String
        package var format: String
        package var step: Int64?
        /// When its newest file was written.
        package var modified: String

        package init(path: String, format: String, step: Int64?, modified: String) {
            self.path = path
            self.format = format
            self.step = step
            self.modified = modified
        }
    }

    /// `host/pid/trainer`, `train/jobs.batch/run42`
    package var workload: String
    /// `checkpoint`, `pause` or `stop`.
    package var consistency: String
    /// How it was asked for a checkpoint; empty when it was not.
    package var request: String
    /// Who was asked, and what each answered.
    package var answers: [String]
    /// The newest complete checkpoint before it was asked, and the one that it wrote then; nil where nobody saw one.
    package var checkpointBefore: Checkpoint?
    package var checkpointAfter: Checkpoint?
    /// The newest complete checkpoint in the snapshot; nil when there is none.
    package var lastComplete: Checkpoint?
    /// What is lost if that is restored, as far as it is known: seconds since it was written, and steps of which something
    /// was seen. Nil: not known.
    package var lostSeconds: Double?
    package var lostSteps: Int64?
    /// Seconds that it stood still; nil while it still did.
    package var pauseSeconds: Double?
    /// When each step of it began.
    package var times: [String: String]
    /// What users should know, one line each.
    package var remarks: [String]

    package init(workload: String, consistency: String) {
        self.workload = workload
        self.consistency = consistency
        request = ""
        answers = []
        times = [:]
        remarks = []
    }
}
