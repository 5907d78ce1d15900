package import Basics
package import RepositoryFormat
package import Workloads

extension RecoveryPoint {
    /// What a restore of what these inventories are of would go on from. Each has the name of what it is of: a claim, or "".
    package init(_ inventories: [(name: String, inventory: StateInventory)], taken: Timestamp) {
        self.init(checkpoint: nil, furthestStep: nil, hasCheckpoints: false, taken: taken)
        for (name, inventory) in inventories {
            if let step = inventory.leftOutStep {
                hasCheckpoints = true
                furthestStep = max(furthestStep ?? step, step)
            }
            for state in inventory.states where state.kind == "checkpoint" {
                hasCheckpoints = true
                if let step = state.step { furthestStep = max(furthestStep ?? step, step) }
                guard state.judgement == "complete", let modified = state.modified.map({ Timestamp(nanoseconds: $0) }),
                    modified > checkpoint?.modified ?? Timestamp(nanoseconds: .min)
                else { continue }
                checkpoint = SeenCheckpoint(
                    claim: name, path: state.path, format: state.format, step: state.step, modified: modified)
            }
        }
    }
}

extension WorkloadStandstill {
    /// What a snapshot's manifest keeps of a record.
    package init(_ record: QuiesceRecord) {
        self.init(workload: "\(record.workload)", consistency: record.consistency.rawValue)
        request = record.request
        answers = record.answers.map { "\($0.pod): \($0.text)" }
        checkpointBefore = record.before.map(Self.checkpoint)
        checkpointAfter = record.after.map(Self.checkpoint)
        lastComplete = record.recovery?.checkpoint.map(Self.checkpoint)
        lostSeconds = record.recovery?.lostSeconds
        lostSteps = record.recovery?.lostSteps
        pauseSeconds = record.pauseSeconds
        for (step, time) in record.times { times[step.rawValue] = CalendarTime(time).microsecondText }
        remarks = record.remarks
    }

    private static func checkpoint(_ seen: SeenCheckpoint) -> Checkpoint {
        Checkpoint(
            path: seen.claim.isEmpty ? seen.path : "\(seen.claim)/\(seen.path)", format: seen.format, step: seen.step,
            modified: CalendarTime(seen.modified).text)
    }
}
