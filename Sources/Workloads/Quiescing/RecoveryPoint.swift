package import Basics
package import Kubernetes

/// What a restore would go on from, and what would be lost: the newest complete checkpoint of what was taken, seen from the
/// moment at which it was taken.
package struct RecoveryPoint: Sendable, Equatable {
    /// Nil when none is complete.
    package var checkpoint: SeenCheckpoint?
    /// The greatest step of any checkpoint that was seen, those that are not complete included: it had got so far at least.
    package var furthestStep: Int64?
    /// Whether there were checkpoints at all.
    package var hasCheckpoints: Bool
    /// Claims that are block devices, on which nobody sees whether there is a checkpoint.
    package var devices: [String] = []
    /// When it stopped or, where it ran on, when it was taken.
    package var taken: Timestamp

    package init(checkpoint: SeenCheckpoint?, furthestStep: Int64?, hasCheckpoints: Bool, taken: Timestamp) {
        self.checkpoint = checkpoint
        self.furthestStep = furthestStep
        self.hasCheckpoints = hasCheckpoints
        self.taken = taken
    }

    /// Seconds from the checkpoint to the standstill, by two clocks that may differ; nil when there is none.
    package var lostSeconds: Double? { checkpoint.map { max(0, taken - $0.modified) } }

    /// Steps since the checkpoint of which something was seen: as many are lost at least. Nil when none was.
    package var lostSteps: Int64? {
        guard let furthestStep, let step = checkpoint?.step, furthestStep > step else { return nil }
        return furthestStep - step
    }

    /// In words, on one line.
    package var words: String {
        guard let last = devices.last else { return wordsOfFiles }
        let names = devices.count == 1 ? last : "\(devices.dropLast().joined(separator: ", ")) and \(last)"
        let unknown = "what \(names) hold\(devices.count == 1 ? "s, a block device" : ", block devices"), is not known"
        guard checkpoint != nil else {
            let found = hasCheckpoints ? "no checkpoint that can be seen is complete" : "no checkpoint can be seen"
            return "\(found), and \(unknown): whether, and from where, it would go on if it is restored cannot be told"
        }
        return "\(wordsOfFiles); \(unknown)"
    }

    /// What is said of the volumes whose files can be looked at.
    private var wordsOfFiles: String {
        guard let checkpoint, let lostSeconds else {
            return hasCheckpoints
                ? "no checkpoint is complete: all that was computed is lost if it is restored"
                : "no checkpoint was found: what it held in memory alone is lost if it is restored"
        }
        let place = checkpoint.claim.isEmpty ? checkpoint.path : "\(checkpoint.claim)/\(checkpoint.path)"
        let step = checkpoint.step.map { "is step \($0)" } ?? "is one without a step"
        let last = "the last complete checkpoint \(step) of \(CalendarTime(checkpoint.modified).text) (\(place))"
        guard lostSeconds >= 1 || lostSteps != nil else {
            return "\(last), written as it was taken: nothing that is known is lost if it is restored"
        }
        let steps = lostSteps.map { ", at least \($0) \($0 == 1 ? "step" : "steps")," } ?? ""
        return
            "\(last); what was computed in the \(Self.duration(lostSeconds)) since then\(steps) is lost if it is restored"
    }

    private static func duration(_ seconds: Double) -> String {
        let whole = Int64(min(seconds.rounded(), 1e15))
        if whole < 120 { return "\(whole) s" }
        if whole < 7200 { return "\((whole + 30) / 60) min" }
        return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }

    /// For a snapshot and for `--json`.
    package var json: JSONValue {
        var object = JSONObject()
        if let checkpoint { object["checkpoint"] = checkpoint.json }
        if let furthestStep { object["furthest_step"] = .integer(furthestStep) }
        if !devices.isEmpty { object["devices"] = .array(devices.map { .string($0) }) }
        object["taken"] = .string(CalendarTime(taken).text)
        if let lostSeconds, let number = JSONNumber("\(lostSeconds)") { object["lost_seconds"] = .number(number) }
        if let lostSteps { object["lost_steps"] = .integer(lostSteps) }
        object["words"] = .string(words)
        return .object(object)
    }
}

extension SeenCheckpoint {
    /// For a snapshot and for `--json`.
    var json: JSONValue {
        var object = JSONObject()
        object["claim"] = .string(claim)
        object["path"] = .string(path)
        object["format"] = .string(format)
        if let step { object["step"] = .integer(step) }
        object["modified"] = .string(CalendarTime(modified).text)
        return .object(object)
    }
}
