internal import Basics
internal import CCurl
internal import CCurlShims

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A connection that libcurl makes, through proxies and with TLS as a `CurlTransport` would, and then leaves to us: bytes
/// in both directions, on a thread of its own, for protocols that HTTP is upgraded to.
///
/// One task at a time receives; any number send. Cancelling one of them closes the connection, as does dropping it.
package final class CurlConnection: Sendable {
    private let core: Core

    /// Bytes that wait for their reader, and for the network, at most (and one block more): the peer, or the sender, has
    /// to wait then.
    static let limit = 1 << 20

    /// Connects to where `request` goes; nothing is sent. Throws as a transport does.
    package static func open(
        _ request: HTTPRequest, _ configuration: CurlTransportConfiguration
    ) async throws(HTTPTransportError) -> CurlConnection {
        CurlTransport.initialize()
        let core = try Core(label: request.label)
        WorkerThreads(count: 1, name: "connection") { _ in core.run(request, configuration) }.detach()
        let connection = CurlConnection(core)
        try await core.wait { state -> Result<Void, HTTPTransportError>? in
            state.isConnected ? .success(()) : state.failure.map { .failure($0) }
        }
        return connection
    }

    private init(_ core: Core) { self.core = core }

    deinit { core.close() }

    /// Sends bytes; returns once they are queued, which may have to wait for the network.
    package func send(_ bytes: [UInt8]) async throws(HTTPTransportError) {
        try await core.wait { state -> Result<Void, HTTPTransportError>? in
            if let failure = state.failure { return .failure(failure) }
            guard !state.isClosing, state.outbound.count < Self.limit else { return nil }
            state.outbound += bytes
            return .success(())
        }
        core.wakeThread()
    }

    /// What has come since the last call, waiting for some; nil when the peer has sent its last.
    package func receive() async throws(HTTPTransportError) -> [UInt8]? {
        let bytes = try await core.wait { state -> Result<[UInt8]?, HTTPTransportError>? in
            if !state.inbound.isEmpty {
                let bytes = state.inbound
                state.inbound = []
                return .success(bytes)
            }
            if state.hasEnded { return .success(nil) }
            return state.failure.map { .failure($0) }
        }
        core.wakeThread()
        return bytes
    }

    /// Closes the connection; who waits gets `.cancelled`.
    package func close() { core.close() }
}

/// What the thread and the callers share.
@safe private final class Core: @unchecked Sendable {
    struct State {
        var isConnected = false
        var isClosing = false
        /// The peer sends no more.
        var hasEnded = false
        var inbound: [UInt8] = []
        var outbound: [UInt8] = []
        var failure: HTTPTransportError?
        var waiters: [CheckedContinuation<Void, Never>] = []
        /// Counts what the thread did, so that a caller that has to wait knows whether something came since it looked.
        var changes = 0
    }

    private let state = Monitor(State())
    private let label: String
    /// Rings the thread: a pair of sockets, of which callers write to the second; closed with the last reference.
    private let bell: (reader: CInt, writer: CInt)

    init(label: String) throws(HTTPTransportError) {
        self.label = label
        var pair: [CInt] = [-1, -1]
        let kind = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        guard unsafe socketpair(AF_UNIX, kind, 0, &pair) == 0 else {
            throw HTTPTransportError(.failed, "cannot \(label): the process may open no more files")
        }
        bell = (pair[0], pair[1])
    }

    deinit {
        shut(bell.reader)
        shut(bell.writer)
    }

    // MARK: Callers

    func wakeThread() {
        var one: UInt8 = 1
        // A bell that is full rings already.
        _ = unsafe write(bell.writer, &one, 1)
    }

    func close() {
        change { $0.isClosing = true }
        wakeThread()
    }

    /// Waits until `body` answers something.
    func wait<R: Sendable>(
        _ body: @escaping @Sendable (inout State) -> Result<R, HTTPTransportError>?
    ) async throws(HTTPTransportError) -> R {
        while true {
            let (result, changes) = state.withLock { state -> (Result<R, HTTPTransportError>?, Int) in
                let result = body(&state)
                return (result ?? (state.isClosing ? .failure(cancelled) : nil), state.changes)
            }
            if let result { return try result.get() }
            await withTaskCancellationHandler {
                await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                    let isReady = state.withLock { state in
                        if state.changes == changes { state.waiters.append(continuation) }
                        return state.changes != changes
                    }
                    if isReady { continuation.resume() }
                }
            } onCancel: {
                close()
            }
        }
    }

    private var cancelled: HTTPTransportError { HTTPTransportError(.cancelled, "\(label): the connection was closed") }

    /// Changes the state and wakes every caller, who then looks again.
    private func change(_ body: (inout State) -> Void) {
        let waiters = state.withLock { state in
            body(&state)
            state.changes += 1
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    // MARK: The thread

    func run(_ request: HTTPRequest, _ configuration: CurlTransportConfiguration) {
        guard let handle = CurlEasyHandle() else {
            fail(HTTPTransportError(.failed, "\(label): out of memory"))
            return
        }
        if let error = handle.prepareConnection(for: request, configuration) {
            fail(error)
            return
        }
        let (code, reason) = handle.connect()
        guard code == CURLE_OK else {
            fail(HTTPTransportError(CurlOutcome.kind(code, hasSent: false), "\(label): \(reason)"))
            return
        }
        change { $0.isConnected = true }
        exchange(handle)
    }

    private func fail(_ error: HTTPTransportError) { change { $0.failure = $0.failure ?? error } }

    private func exchange(_ handle: CurlEasyHandle) {
        var pending: [UInt8] = []
        var sent = 0
        var isLastTry = false
        var block = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            if sent == pending.count, state.withLock({ !$0.outbound.isEmpty }) {
                var next: [UInt8] = []
                change { state in swap(&next, &state.outbound) }
                pending = next
                sent = 0
            }
            let (isClosing, hasRoom, hasEnded) = state.withLock {
                ($0.isClosing, $0.inbound.count < CurlConnection.limit, $0.hasEnded)
            }
            if isClosing, isLastTry || (sent == pending.count && state.withLock { $0.outbound.isEmpty }) { return }
            var isBusy = false
            switch handle.send(pending[sent...]) {
            case .success(let count):
                sent += count
                isBusy = count > 0
            case .failure(let error):
                fail(HTTPTransportError(.interrupted, "\(label): \(error)", isAmbiguous: true))
                return
            }
            if hasRoom, !hasEnded {
                switch handle.receive(&block) {
                case .success(nil): break
                case .success(let count?):
                    isBusy = true
                    change { state in
                        if count == 0 { state.hasEnded = true } else { state.inbound += block[..<count] }
                    }
                case .failure(let error):
                    fail(HTTPTransportError(.interrupted, "\(label): \(error)", isAmbiguous: true))
                    return
                }
            }
            if !isBusy {
                // A peer that takes nothing does not keep a closed connection for ever.
                waitForWork(handle, reads: hasRoom && !hasEnded && !isClosing, writes: sent < pending.count)
                isLastTry = isClosing
            }
        }
    }

    /// Sleeps until the socket or a caller has something; ten seconds at most.
    private func waitForWork(_ handle: CurlEasyHandle, reads: Bool, writes: Bool) {
        let events = Int16((reads ? POLLIN : 0) | (writes ? POLLOUT : 0))
        var files = [
            pollfd(fd: bell.reader, events: Int16(POLLIN), revents: 0),
            pollfd(fd: events == 0 ? -1 : handle.socket, events: events, revents: 0),
        ]
        _ = unsafe poll(&files, 2, 10_000)
        var rings = [UInt8](repeating: 0, count: 256)
        while unsafe read(bell.reader, &rings, rings.count) == rings.count {}
    }
}

/// Closes one of our own sockets: nothing is in it that could be lost.
private func shut(_ file: CInt) { _ = close(file) }
