/// The answer to a request whose body is read as it comes: for what has no end of its own, as watches and logs.
///
/// One task at a time reads it. Cancelling that task, or dropping the stream, cuts the request off.
package final class HTTPResponseStream: AsyncSequence, Sendable {
    /// Some bytes of the body; never none.
    package typealias Element = [UInt8]
    /// Why there is no more.
    package typealias Failure = HTTPTransportError

    /// Status, headers and, unless the status is 200 to 299, the beginning of the body.
    package let response: HTTPResponse
    private let state: ResponseStreamState
    /// Without its transport the request would be cut off.
    private let transport: CurlTransport

    init(_ response: HTTPResponse, _ state: ResponseStreamState, _ transport: CurlTransport) {
        self.response = response
        self.state = state
        self.transport = transport
    }

    deinit { state.cancel() }

    /// What has come of the body since the last call, waiting for some; nil at its end.
    package func next() async throws(HTTPTransportError) -> [UInt8]? { try await state.next() }

    /// Ends the request now; the reader gets `.cancelled`.
    package func cancel() { state.cancel() }

    /// Reads the stream's pieces in order.
    package struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let stream: HTTPResponseStream

        package mutating func next() async throws(HTTPTransportError) -> [UInt8]? { try await stream.next() }
        package mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(HTTPTransportError) -> [UInt8]? { try await stream.next() }
    }

    /// A reader of the pieces that nobody has read yet.
    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: self) }
}
