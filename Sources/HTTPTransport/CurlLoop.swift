internal import Basics
internal import CCurl
internal import CCurlShims
internal import Synchronization

/// The thread that drives all transfers of one transport.
///
/// Callers never touch libcurl: they leave a message and wake the loop with `curl_multi_wakeup`, the one call that is
/// allowed from another thread. At most `maximumConnections` transfers are libcurl's at a time; the others wait here,
/// where neither the connect timeout nor the stall timeout runs.
@safe final class CurlLoop: Sendable {
    enum Message: Sendable {
        case start(CurlTransfer)
        case cancel(UInt64)
        /// The reader of a stream has room again.
        case resume(UInt64)
    }

    private struct Mailbox {
        var messages: [Message] = []
        var isStopping = false
        /// The thread reads no more messages and libcurl's handle is gone.
        var isClosed = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    /// What only the thread knows.
    private struct State {
        var active: [UInt64: (transfer: CurlTransfer, handle: CurlEasyHandle)] = [:]
        var waiting: [CurlTransfer] = []
        var idle: [CurlEasyHandle] = []
    }

    private let mailbox = Mutex(Mailbox())
    private nonisolated(unsafe) let multi: UnsafeMutableRawPointer
    private let configuration: CurlTransportConfiguration

    /// Milliseconds that the loop sleeps when nothing happens; a message or a socket wakes it earlier.
    private static let pollMilliseconds: CInt = 10_000

    /// A loop; it runs when a thread calls `run`. Nil when libcurl has no memory.
    init?(_ configuration: CurlTransportConfiguration) {
        guard let multi = unsafe curl_multi_init() else { return nil }
        unsafe self.multi = multi
        self.configuration = configuration
        // Cannot fail: both options exist since 7.30 and take any number.
        _ = unsafe CCurlShims_multi_setopt_long(multi, CURLMOPT_MAXCONNECTS, configuration.maximumConnections)
        _ = unsafe CCurlShims_multi_setopt_long(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, configuration.maximumConnections)
    }

    // MARK: Any thread

    /// Leaves a message. False when the loop has stopped or is about to: then it will never be read.
    func post(_ message: Message) -> Bool {
        mailbox.withLock { box in
            guard !box.isStopping else { return false }
            box.messages.append(message)
            _ = unsafe curl_multi_wakeup(multi)
            return true
        }
    }

    /// Makes the loop cut off everything and end.
    func stop() {
        mailbox.withLock { box in
            guard !box.isStopping else { return }
            box.isStopping = true
            _ = unsafe curl_multi_wakeup(multi)
        }
    }

    /// Returns when the loop has ended.
    func waitForEnd() async {
        await withCheckedContinuation { continuation in
            let isClosed = mailbox.withLock { box in
                if !box.isClosed { box.waiters.append(continuation) }
                return box.isClosed
            }
            if isClosed { continuation.resume() }
        }
    }

    // MARK: The thread

    /// Runs until `stop`.
    func run() {
        var state = State()
        while takeMessages(&state) {
            startWaiting(&state)
            var running: CInt = 0
            _ = unsafe curl_multi_perform(multi, &running)
            let finished = collectFinished(&state)
            if finished && !state.waiting.isEmpty { continue }
            _ = unsafe curl_multi_poll(multi, nil, 0, Self.pollMilliseconds, nil)
        }
        let error = HTTPTransportError(.cancelled, "the HTTP transport was shut down")
        for (transfer, handle) in state.active.values {
            _ = unsafe curl_multi_remove_handle(multi, handle.raw)
            transfer.finish(.failure(error))
        }
        for transfer in state.waiting { transfer.finish(.failure(error)) }
        state = State()
        let (messages, waiters) = mailbox.withLock { box in
            box.isClosed = true
            _ = unsafe curl_multi_cleanup(multi)
            let result = (box.messages, box.waiters)
            box.messages = []
            box.waiters = []
            return result
        }
        for case .start(let transfer) in messages { transfer.finish(.failure(error)) }
        for waiter in waiters { waiter.resume() }
    }

    /// Reads the mailbox; false when the loop is to end.
    private func takeMessages(_ state: inout State) -> Bool {
        let messages: [Message]? = mailbox.withLock { box in
            guard !box.isStopping else { return nil }
            let messages = box.messages
            box.messages.removeAll(keepingCapacity: true)
            return messages
        }
        guard let messages else { return false }
        for message in messages {
            switch message {
            case .start(let transfer):
                // The cancellation's message may have come first; one that comes later finds the transfer.
                if transfer.cancellation.isSet.load(ordering: .acquiring) {
                    transfer.finish(.failure(HTTPTransportError(.cancelled, "\(transfer.request.label) was cancelled")))
                } else {
                    state.waiting.append(transfer)
                }
            case .cancel(let id): cancel(id, &state)
            case .resume(let id):
                // Calls back with what waits, at once; a failure shows as the transfer's outcome.
                if let handle = state.active[id]?.handle { _ = unsafe curl_easy_pause(handle.raw, CURLPAUSE_CONT) }
            }
        }
        return true
    }

    private func cancel(_ id: UInt64, _ state: inout State) {
        if let (transfer, handle) = state.active.removeValue(forKey: id) {
            let isAmbiguous = handle.hasSent && transfer.request.method.changesState
            _ = unsafe curl_multi_remove_handle(multi, handle.raw)
            handle.reset()
            state.idle.append(handle)
            let message = "\(transfer.request.label) was cancelled"
            transfer.finish(.failure(HTTPTransportError(.cancelled, message, isAmbiguous: isAmbiguous)))
        } else if let index = state.waiting.firstIndex(where: { $0.id == id }) {
            let transfer = state.waiting.remove(at: index)
            transfer.finish(.failure(HTTPTransportError(.cancelled, "\(transfer.request.label) was cancelled")))
        }
    }

    private func startWaiting(_ state: inout State) {
        while state.active.count < configuration.maximumConnections, !state.waiting.isEmpty {
            let transfer = state.waiting.removeFirst()
            guard let handle = state.idle.popLast() ?? CurlEasyHandle() else {
                transfer.finish(.failure(HTTPTransportError(.failed, "\(transfer.request.label): out of memory")))
                continue
            }
            if let error = handle.prepare(for: transfer, configuration) {
                handle.reset()
                state.idle.append(handle)
                transfer.finish(.failure(error))
                continue
            }
            let code = unsafe curl_multi_add_handle(multi, handle.raw)
            guard code == CURLM_OK else {
                let reason = unsafe String(cString: curl_multi_strerror(code))
                transfer.finish(.failure(HTTPTransportError(.failed, "\(transfer.request.label): \(reason)")))
                continue
            }
            state.active[transfer.id] = (transfer, handle)
        }
    }

    /// Ends the transfers that libcurl has done with; whether there were any.
    private func collectFinished(_ state: inout State) -> Bool {
        var any = false
        var remaining: CInt = 0
        while let message = unsafe curl_multi_info_read(multi, &remaining) {
            guard unsafe message.pointee.msg == CURLMSG_DONE, let raw = unsafe message.pointee.easy_handle else {
                continue
            }
            let code = unsafe CCurlShims_message_result(message)
            var context: UnsafeMutableRawPointer?
            guard unsafe CCurlShims_easy_getinfo_pointer(raw, CURLINFO_PRIVATE, &context) == CURLE_OK,
                let context = unsafe context
            else { continue }
            let id = unsafe Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue().id
            guard let (transfer, handle) = state.active.removeValue(forKey: id) else { continue }
            any = true
            _ = unsafe curl_multi_remove_handle(multi, raw)
            let outcome = CurlOutcome.of(transfer, code, hasSent: handle.hasSent)
            handle.reset()
            state.idle.append(handle)
            transfer.finish(outcome)
        }
        return any
    }
}
