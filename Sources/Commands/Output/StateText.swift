internal import RepositoryFormat
internal import Snapshots

/// What a manifest says of checkpoints, models and caches, for people and for machines.
enum StateText {
    /// The members of a state in a backup's summary.
    static func summary(_ state: StateInventory.State) -> [JSONValue.Member] {
        [
            .init("path", .string(state.path)), .init("kind", .string(state.kind)),
            .init("format", .string(state.format)), .init("step", state.step.map { .integer($0) } ?? .null),
            .init("judgement", .string(state.judgement)), .init("bytes", state.bytes.map { .unsigned($0) } ?? .null),
        ]
    }

    /// The line about them in a backup's summary, with the line break before it; "" when there are none.
    static func line(_ states: [StateInventory.State]) -> String {
        let checkpoints = states.filter { $0.kind == "checkpoint" }
        let complete = checkpoints.filter { $0.judgement == "complete" }
        var parts: [String] = []
        if !checkpoints.isEmpty {
            let step = complete.compactMap(\.step).max().map { ", the newest of step \($0)" } ?? ""
            parts.append(
                "\(complete.count) of \(Format.count(UInt64(checkpoints.count), "checkpoint")) complete\(step)")
        }
        let models = states.filter { $0.kind == "model" }
        if !models.isEmpty { parts.append(Format.count(UInt64(models.count), "model")) }
        let caches = states.filter { $0.kind == "cache" }
        if !caches.isEmpty { parts.append(Format.count(UInt64(caches.count), "cache")) }
        return parts.isEmpty ? "" : "\n" + parts.joined(separator: "; ")
    }
}
