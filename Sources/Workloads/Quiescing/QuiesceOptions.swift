/// How a workload is brought to a standstill.
package struct QuiesceOptions: Sendable {
    /// Who does it, for the journal: unique to this run.
    package var holder: String
    /// What the user asks for, member by member before what the workload's annotations say.
    package var policy = QuiescePolicy()
    /// For what neither the user nor the workload's annotations say.
    package var policies: PolicyFile?
    /// Seconds from now until it is let go whatever happens.
    package var deadlineSeconds = 1800.0
    /// Seconds that it may take to stop.
    package var stopSeconds = 600.0
    /// Seconds that a checkpoint may take, unless a policy says so.
    package var checkpointSeconds = 600.0
    /// Seconds that servers may take to answer what they have begun, unless a policy says so.
    package var drainSeconds = 120.0
    /// Seconds for which they must have nothing under way to be believed idle.
    package var settleSeconds = 3.0
    /// Seconds for which routes wait for pods to be Ready when it is let go, before they are opened whatever pods do; 0 for
    /// who cannot wait, and does not come again.
    package var readySeconds = Resumer.readySeconds
    /// Whether nobody stays to renew the journal's lease: it holds until the deadline.
    package var isManual = false

    package init(holder: String) { self.holder = holder }

    /// The longest deadline, in seconds: a week.
    package static let longestDeadline = 604_800.0
}

/// What a quiescer has come to, for whoever watches.
package enum QuiesceEvent: Sendable {
    /// A step has begun.
    case step(QuiesceJournal.Step)
    /// Something that a user should know.
    case remark(String)
}
