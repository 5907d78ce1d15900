internal import Basics
internal import Kubernetes
internal import Workloads

/// What a backup has come to with a workload that it stops, in the cluster (`RunRecord`): any process of the plugin goes on
/// from there.
struct HoldRecord: Sendable, Equatable {
    /// How far it is.
    enum State: String, Sendable, CaseIterable {
        /// It is being brought to a standstill.
        case stopping
        /// It stands still until its volumes are stored, or was asked for a checkpoint and runs on.
        case held
        /// All its volumes were stored while it stood still; it is being let go.
        case releasing
        /// It runs again.
        case released
        /// It stood still before, for as long as somebody wants: `reason` says who. This backup does not let it go.
        case others
        /// It did not stand still, or not for as long as its volumes needed: `reason` says why. It runs.
        case failed
    }

    var state: State
    var asked: QuiescePolicy.Consistency
    /// Its claims when it was stopped, with their uids: those by which movers are found.
    var claims: [Claim] = []
    /// Seconds that it stood still, once it is let go.
    var pauseSeconds: Double?
    /// What was asked and seen, as a snapshot of `becalm backup --workload` has it; null before it stood still.
    var quiesce: JSONValue = .null
    var reason = ""
    /// When the first call about it began, by the clock of this backup's server.
    var began: Timestamp

    /// A claim of a workload.
    struct Claim: Sendable, Equatable {
        var name: String
        var uid: String
    }

    init(_ state: State, asked: QuiescePolicy.Consistency, began: Timestamp) {
        self.state = state
        self.asked = asked
        self.began = began
    }

    /// Whether nothing of the workload runs, as far as the backup knows.
    var standsStill: Bool { asked != .checkpoint && (state == .held || state == .releasing || state == .others) }

    /// Bytes of the record of what was asked and seen at most: annotations have 256 KiB in all.
    private static let maximumQuiesceBytes = 64 << 10

    /// JSON on one line.
    var text: String {
        var object = JSONObject()
        object["asked"] = .string(asked.rawValue)
        object["claims"] = .array(claims.map { ["name": .string($0.name), "uid": .string($0.uid)] })
        if let pauseSeconds, let number = JSONNumber("\(pauseSeconds)") { object["pause_seconds"] = .number(number) }
        object["began"] = .integer(began.seconds)
        let isLong = quiesce.serialized(escapingHTML: false).count > Self.maximumQuiesceBytes
        object["quiesce"] = isLong ? .null : quiesce
        object["reason"] = .string(reason)
        object["state"] = .string(state.rawValue)
        object["version"] = 1
        return String(decoding: JSONValue.object(object).serialized(escapingHTML: false), as: UTF8.self)
    }

    /// Nil for what another version, or somebody else, wrote.
    init?(parsing text: String) {
        guard let json = try? JSONValue(parsing: text), json["version"]?.int64 == 1,
            let state = json["state"]?.string.flatMap(State.init(rawValue:)),
            let asked = json["asked"]?.string.flatMap(QuiescePolicy.Consistency.init(rawValue:)),
            let began = json["began"]?.int64
        else { return nil }
        self.init(state, asked: asked, began: Timestamp(seconds: began))
        claims = (json["claims"]?.array ?? []).compactMap { claim in
            claim["name"]?.string.map { Claim(name: $0, uid: claim["uid"]?.string ?? "") }
        }
        pauseSeconds = json["pause_seconds"]?.number?.double
        quiesce = json["quiesce"] ?? .null
        reason = json["reason"]?.string ?? ""
    }
}
