internal import Orchestration
internal import RepositoryFormat
internal import Snapshots

/// The checkpoints, models and caches in a snapshot, for programs and for people. Nothing of an inventory is trusted.
enum StateText {
    /// The columns of the table.
    static var table: TextTable {
        TextTable([
            .left("path"), .left("format"), .right("step"), .right("size"), .right("parameters"), .left("types"),
            .left("judgement"), .right("stored"), .right("ratio"), .left("as"),
        ])
    }

    /// The cells of a row.
    static func row(_ state: StateInventory.State, _ storage: StateStorage?) -> [String] {
        var types = state.tensors.prefix(2).map { "\($0.dtype) \(Format.bytes($0.bytes))" }
        if state.tensors.count > 2 { types.append("…") }
        let isWhole = storage.map { $0.missingChunks == 0 && $0.unreadable == 0 } ?? true
        return [
            path(state.path), Console.oneLine(state.format), state.step.map { "\($0)" } ?? "",
            state.bytes.map(Format.bytes) ?? "", CheckpointText.parameters(state.parameters),
            Console.oneLine(types.joined(separator: ", ")), Console.oneLine(state.judgement),
            storage.map { Format.bytes($0.storedBytes) + (isWhole ? "" : "!") } ?? "",
            storage?.ratio.map(ratio) ?? "", storage.map(forms) ?? "",
        ]
    }

    /// How its bytes are stored, the largest share first, without what is less than half a hundredth.
    private static func forms(_ storage: StateStorage) -> String {
        let shares = StateStorage.Form.allCases.map { ($0, Int(((storage.share($0) ?? 0) * 100).rounded())) }
        return shares.filter { $0.1 > 0 }.sorted { $0.1 > $1.1 }.map { "\(name($0.0)) \($0.1) %" }
            .joined(separator: ", ")
    }

    private static func name(_ form: StateStorage.Form) -> String {
        switch form {
        case .stored: "stored"
        case .zstd: "zstd"
        case .planes: "planes"
        case .difference: "differences"
        case .unknown: "unknown"
        }
    }

    /// What stands below the table for a state: why it is not complete, and what the repository lacks of it.
    static func explanation(_ state: StateInventory.State, _ storage: StateStorage?) -> [String] {
        var lines = state.reasons.map { "\(state.judgement): \($0)" }
        if let storage, storage.missingChunks > 0 || storage.unreadable > 0 {
            lines.append(
                "damaged: the repository lacks \(Format.count(storage.missingChunks, "chunk")) of it, and \(Format.count(storage.unreadable, "list")) of chunks or names could not be read"
            )
        }
        return lines.map { Console.oneLine("\(path(state.path)): \($0)") }
    }

    /// What a job would resume from.
    static func line(_ run: StateInventory.Run) -> [String] {
        let resume = run.resumesFrom.map { "resumes from \($0)" } ?? "would start anew"
        return ["\(run.path.isEmpty ? "." : run.path): \(run.format) \(resume)"].map(Console.oneLine)
            + run.warnings.map { Console.oneLine("  warning: \($0)") }
    }

    /// The members of a `state` object.
    static func members(_ state: StateInventory.State, _ storage: StateStorage?) -> [JSONValue.Member] {
        let dtypes = state.tensors.map { total in
            JSONValue.object([
                .init("dtype", .string(total.dtype)), .init("tensors", .unsigned(total.tensors)),
                .init("elements", .unsigned(total.elements)), .init("bytes", .unsigned(total.bytes)),
            ])
        }
        let stored = storage.map { storage in
            JSONValue.object([
                .init("files", .unsigned(storage.files)), .init("bytes", .unsigned(storage.bytes)),
                .init("chunks", .unsigned(storage.chunks)), .init("chunk_bytes", .unsigned(storage.chunkBytes)),
                .init("difference_bytes", .unsigned(storage.differenceBytes)),
                .init("difference_share", storage.share(.difference).map { .number($0) } ?? .null),
                .init("forms", .object(StateStorage.Form.allCases.map { member($0, storage.shares[$0] ?? .init()) })),
                .init("stored_bytes", .unsigned(storage.storedBytes)),
                .init("ratio", storage.ratio.map { .number($0) } ?? .null),
                .init("missing_chunks", .unsigned(storage.missingChunks)),
                .init("unreadable", .unsigned(storage.unreadable)),
            ])
        }
        return [
            .init("path", .string(state.path)), .init("kind", .string(state.kind)),
            .init("format", .string(state.format)), .init("step", state.step.map { .integer($0) } ?? .null),
            .init("judgement", .string(state.judgement)),
            .init("bytes", state.bytes.map { .unsigned($0) } ?? .null),
            .init("modified_ns", state.modified.map { .integer($0) } ?? .null),
            .init("parameters", state.parameters.map { .unsigned($0) } ?? .null), .init("dtypes", .array(dtypes)),
            .init("files", state.files.map { .strings($0) } ?? .null), .init("reasons", .strings(state.reasons)),
            .init("commit_markers", .strings(state.commitMarkers)),
            .init("quarantine_name", .optional(state.quarantineName)), .init("storage", stored ?? .null),
        ]
    }

    /// What of a state is stored in one form.
    private static func member(_ form: StateStorage.Form, _ share: StateStorage.Share) -> JSONValue.Member {
        .init(
            form.rawValue,
            .object([.init("bytes", .unsigned(share.bytes)), .init("stored_bytes", .unsigned(share.storedBytes))]))
    }

    /// The members of a `run` object.
    static func members(_ run: StateInventory.Run) -> [JSONValue.Member] {
        [
            .init("path", .string(run.path)), .init("format", .string(run.format)),
            .init("resumes_from", .optional(run.resumesFrom)),
            .init("step", run.step.map { .integer($0) } ?? .null),
            .init("newest_complete", .optional(run.newestComplete)), .init("trackers", .strings(run.trackers)),
            .init("warnings", .strings(run.warnings)),
        ]
    }

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

    private static func path(_ path: String) -> String { PathText.display(Array(path.utf8)) }

    /// Two digits behind the point.
    private static func ratio(_ value: Double) -> String {
        let hundredths = Int((min(value, 1e6) * 100).rounded())
        return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
    }
}
