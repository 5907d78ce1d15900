package import Orchestration
package import Snapshots
internal import Synchronization
package import SystemPackage

/// What a command says on standard output: text for people, or one JSON object a line. Every answer of every command is
/// rendered here.
///
/// Async code collects, and the program flushes at the end; threads of ours that stream flush as they go. Nothing is
/// written any more once the reader has gone (EPIPE), and nobody is bothered by it; `failure` keeps any other error.
package final class Output: Sendable {
    /// For whom.
    package enum Mode: Sendable {
        case text
        case json
    }

    private struct State {
        var mode: Mode
        var pending: [UInt8] = []
        var isClosed = false
        var failure: Errno?
    }

    /// Writes bytes; answers what kept it from taking them all, nil for nothing.
    private let write: @Sendable ([UInt8]) -> Errno?
    private let state: Mutex<State>
    private static let pieceBytes = 64 << 10

    package init(mode: Mode, write: @escaping @Sendable ([UInt8]) -> Errno?) {
        state = Mutex(State(mode: mode))
        self.write = write
    }

    /// For whom it is; a guess until the arguments have been parsed.
    package var mode: Mode {
        get { state.withLock { $0.mode } }
        set { state.withLock { $0.mode = newValue } }
    }

    /// Whether nothing is written any more, for the reader has gone or the last write failed: streaming may end.
    package var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Why something that was said has not been written; nil when all was, or when the reader has gone.
    package var failure: JourneyError? {
        guard let reason = state.withLock({ $0.failure }) else { return nil }
        let isFull = reason == .noSpace || reason == .diskQuotaExceeded
        return JourneyError(
            isFull ? .noSpace : .failed, kind: isFull ? "no_space" : "unwritable_output",
            "cannot write to standard output: \(reason)\(isFull ? "; free some space, or send it elsewhere" : "")",
            cause: reason)
    }

    /// Says one thing: under `--json` an object with `type` first; else the text's lines, none for nil.
    package func emit(_ type: String, _ members: [JSONValue.Member], text: String? = nil) {
        switch mode {
        case .json: append(JSONValue.object([.init("type", .string(type))] + members).text + [0x0a])
        case .text: if let text { append(Array(text.utf8) + [0x0a]) }
        }
    }

    /// The last thing a command says.
    package func summary(_ members: [JSONValue.Member], text: String? = nil) {
        emit("summary", members, text: text)
    }

    /// Text for people only.
    package func lines(_ lines: [String]) {
        guard mode == .text else { return }
        for line in lines { append(Array(line.utf8) + [0x0a]) }
    }

    /// Bytes as they are, in either mode: a manifest.
    package func raw(_ bytes: [UInt8]) { append(bytes) }

    private func append(_ bytes: [UInt8]) {
        state.withLock { state in
            guard !state.isClosed else { return }
            state.pending += bytes
        }
    }

    /// Writes what has been collected once it is worth it. From threads of ours: it blocks.
    package func flushIfLarge() {
        if state.withLock({ $0.pending.count }) >= Self.pieceBytes { flush() }
    }

    /// Writes what has been collected. From threads of ours: it blocks.
    package func flush() {
        let bytes = state.withLock { state in
            defer { state.pending = [] }
            return state.pending
        }
        guard !bytes.isEmpty, let reason = write(bytes) else { return }
        state.withLock { state in
            state.isClosed = true
            state.pending = []
            if reason != .brokenPipe { state.failure = state.failure ?? reason }
        }
    }
}
