internal import Synchronization

/// What the loop's thread and the reader of a stream share.
///
/// The loop's thread puts in bytes and the end; one reader at a time takes out. No continuation is resumed, and nothing
/// is posted to the loop, under the lock.
final class ResponseStreamState: Sendable {
    /// What the reader's side tells the loop.
    enum Signal {
        /// There is room again.
        case resume
        /// Nobody reads any more.
        case cancel
    }

    private struct State {
        var head: HTTPResponse?
        var outcome: CurlTransfer.Outcome?
        var bytes: [UInt8] = []
        /// libcurl was told to wait.
        var isPaused = false
        var waiter: CheckedContinuation<Void, Never>?
        /// Counts changes from the loop's side, so that a reader that saw nothing knows whether something came since.
        var changes = 0
    }

    private let limit: Int
    private let signal: @Sendable (Signal) -> Void
    private let state = Mutex(State())

    init(limit: Int, signal: @escaping @Sendable (Signal) -> Void) {
        self.limit = limit
        self.signal = signal
    }

    // MARK: The loop's thread

    /// The head of a successful answer is there.
    func begin(_ response: HTTPResponse) { wake { $0.head = response } }

    /// Whether bytes may be appended; if not, `.resume` follows when they may.
    func hasRoom() -> Bool {
        state.withLock { state in
            state.isPaused = state.bytes.count >= limit
            return !state.isPaused
        }
    }

    /// Bytes of the body.
    func append(_ bytes: UnsafeRawBufferPointer) { wake { unsafe $0.bytes.append(contentsOf: bytes) } }

    /// The end, good or bad.
    func end(_ outcome: CurlTransfer.Outcome) { wake { $0.outcome = outcome } }

    private func wake(_ change: (inout State) -> Void) {
        let waiter = state.withLock { state in
            change(&state)
            state.changes += 1
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    // MARK: The reader

    /// The head of the answer: of a successful one before its body, of another one with the beginning of its body.
    func head() async throws(HTTPTransportError) -> HTTPResponse {
        let result: Result<HTTPResponse, HTTPTransportError> = await wait { state in
            state.head.map { .success($0) } ?? state.outcome
        }
        return try result.get()
    }

    /// What has come of the body since the last call, nil at its end.
    func next() async throws(HTTPTransportError) -> [UInt8]? {
        let result: Result<[UInt8]?, HTTPTransportError> = await wait { state in
            if !state.bytes.isEmpty {
                let bytes = state.bytes
                state.bytes = []
                return .success(bytes)
            }
            return state.outcome.map { outcome in outcome.map { _ in nil } }
        }
        let wasPaused = state.withLock { state in
            defer { state.isPaused = false }
            return state.isPaused
        }
        if wasPaused { signal(.resume) }
        return try result.get()
    }

    /// Cuts the request off unless it is over.
    func cancel() {
        if state.withLock({ $0.outcome == nil }) { signal(.cancel) }
    }

    /// Waits until `body` answers something. A cancelled task cuts the request off, whose end then wakes it.
    private func wait<R: Sendable>(_ body: @escaping @Sendable (inout State) -> sending R?) async -> R {
        while true {
            let (result, changes) = state.withLock { (body(&$0), $0.changes) }
            if let result { return result }
            await withTaskCancellationHandler {
                await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                    let isReady = state.withLock { state in
                        let isReady = state.changes != changes
                        if !isReady {
                            precondition(state.waiter == nil, "a stream has one reader at a time")
                            state.waiter = continuation
                        }
                        return isReady
                    }
                    if isReady { continuation.resume() }
                }
            } onCancel: {
                cancel()
            }
        }
    }
}
