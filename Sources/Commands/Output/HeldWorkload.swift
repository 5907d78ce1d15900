internal import Basics
internal import Kubernetes
internal import Snapshots
internal import Workloads

/// A workload that is held, as its journal says, wherever that is.
struct HeldWorkload: Sendable {
    var workload: String
    var step: String
    var consistency: String
    var holder: String
    /// Nil: somebody must resume it.
    var deadline: Timestamp?

    init(_ entry: QuiesceJournal.Entry) {
        workload = "\(entry.workload)"
        step = entry.step.rawValue
        consistency = entry.consistency.rawValue
        holder = entry.lease.holder
        deadline = entry.deadline
    }

    init(_ entry: HostJournal.Entry) {
        workload = "\(entry.workload)"
        step = entry.step.rawValue
        consistency = entry.consistency.rawValue
        holder = entry.holder
        deadline = entry.deadline
    }

    /// A journal's words; null where there is none.
    static func members(_ held: HeldWorkload?, workload: String) -> [Snapshots.JSONValue.Member] {
        [
            .init("workload", .string(workload)), .init("step", .optional(held?.step)),
            .init("consistency", .optional(held?.consistency)), .init("holder", .optional(held?.holder)),
            .init("deadline", .optional(held?.deadline.map { CalendarTime($0).text })),
        ]
    }

    /// The cells of a row.
    var row: [String] {
        [workload, step, Console.oneLine(holder), deadline.map { CalendarTime($0).text } ?? "resumed by hand"]
    }
}
