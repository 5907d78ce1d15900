package import Basics
internal import CCurl
internal import CCurlShims
internal import Synchronization

/// The transport over libcurl: one thread, one set of kept connections, at most so many requests at a time.
///
/// TLS runs on that thread, so one transport carries what one core can encrypt. Proxies come from the environment as
/// libcurl reads it (`https_proxy`, `no_proxy`, …). Dropping the last reference ends the thread.
package final class CurlTransport: HTTPTransport {
    private let loop: CurlLoop
    private let nextID = Atomic<UInt64>(0)

    private static let globalCode: UInt32 = CCurlShims_global_init().rawValue

    /// Readies libcurl and its TLS library for threads; the first transport does it too. Call it in the first lines of
    /// `main`, before there are threads. Repeating it costs nothing.
    package static func initialize() {
        _ = globalCode
    }

    /// A running transport. Throws `.failed` when libcurl cannot start.
    package init(_ configuration: CurlTransportConfiguration = CurlTransportConfiguration()) throws(HTTPTransportError)
    {
        var configuration = configuration
        configuration.authorities = configuration.authorities.resolved()
        guard Self.globalCode == CURLE_OK.rawValue, let loop = CurlLoop(configuration) else {
            throw HTTPTransportError(.failed, "libcurl cannot start (code \(Self.globalCode))")
        }
        self.loop = loop
        // Ends with the loop, and takes its stack with it.
        WorkerThreads(count: 1, name: "http") { _ in loop.run() }.detach()
    }

    deinit { loop.stop() }

    package func perform(
        _ request: HTTPRequest, into buffer: Buffer, maximumBytes: Int
    ) async throws(HTTPTransportError) -> HTTPResponse {
        try await run(request, .buffer(buffer, maximumBytes: maximumBytes))
    }

    package func stream(
        _ request: HTTPRequest, receive: @escaping @Sendable (UnsafeRawBufferPointer) -> Bool
    ) async throws(HTTPTransportError) -> HTTPResponse {
        try await unsafe run(request, .receiver(receive))
    }

    package func open(
        _ request: HTTPRequest, bufferedBytes: Int
    ) async throws(HTTPTransportError) -> HTTPResponseStream {
        let id = nextID.wrappingAdd(1, ordering: .relaxed).newValue
        let flag = CancellationFlag()
        let loop = loop
        let state = ResponseStreamState(limit: bufferedBytes) { signal in
            switch signal {
            case .resume: _ = loop.post(.resume(id))
            case .cancel:
                flag.isSet.store(true, ordering: .releasing)
                _ = loop.post(.cancel(id))
            }
        }
        let transfer = CurlTransfer(
            id: id, request: request, sink: .stream(state), cancellation: flag, completion: { state.end($0) })
        if !loop.post(.start(transfer)) {
            transfer.finish(.failure(HTTPTransportError(.cancelled, "the HTTP transport was shut down")))
        }
        return HTTPResponseStream(try await state.head(), state, self)
    }

    package func shutdown() async {
        loop.stop()
        await loop.waitForEnd()
    }

    private func run(_ request: HTTPRequest, _ sink: CurlTransfer.Sink) async throws(HTTPTransportError) -> HTTPResponse
    {
        let id = nextID.wrappingAdd(1, ordering: .relaxed).newValue
        // A cancellation may come before the start has been posted, or have come long ago: the flag makes the loop see
        // it then.
        let flag = CancellationFlag()
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<CurlTransfer.Outcome, Never>) in
                let transfer = CurlTransfer(
                    id: id, request: request, sink: sink, cancellation: flag,
                    completion: { continuation.resume(returning: $0) })
                if !loop.post(.start(transfer)) {
                    transfer.finish(.failure(HTTPTransportError(.cancelled, "the HTTP transport was shut down")))
                }
            }
        } onCancel: {
            flag.isSet.store(true, ordering: .releasing)
            // A loop that has stopped has ended the transfer already.
            _ = loop.post(.cancel(id))
        }
        return try outcome.get()
    }
}
