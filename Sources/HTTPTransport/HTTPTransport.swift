package import Basics

/// Carries requests to servers. Answers of any status are answers, not errors; redirects are not followed.
///
/// All members may be called from any task at once. After the calling task is cancelled no request starts, one under
/// way is cut off, and the call throws `.cancelled`.
package protocol HTTPTransport: Sendable {
    /// Performs `request` and puts a successful body behind the valid bytes of `buffer`, which belongs to the call
    /// until it returns and grows when it must. A body of more than `maximumBytes` throws `.tooLarge`.
    func perform(
        _ request: HTTPRequest, into buffer: Buffer, maximumBytes: Int
    ) async throws(HTTPTransportError) -> HTTPResponse

    /// Performs `request` and hands each piece of a successful body to `receive` as it arrives, until that answers
    /// false or the body ends. `receive` runs on the transport's thread: it must be quick, must not block, and must
    /// copy what it keeps.
    func stream(
        _ request: HTTPRequest, receive: @escaping @Sendable (UnsafeRawBufferPointer) -> Bool
    ) async throws(HTTPTransportError) -> HTTPResponse

    /// Performs `request` and answers as soon as the head of the answer is there; a successful body is read from the
    /// stream. At most about `bufferedBytes` of it wait for their reader (and what one call of libcurl holds, 512 KiB,
    /// more): then the server has to wait. The request takes one of the transport's connections until its body has
    /// ended or the stream was cancelled or dropped.
    func open(_ request: HTTPRequest, bufferedBytes: Int) async throws(HTTPTransportError) -> HTTPResponseStream

    /// Cuts off what is under way and refuses what comes, both with `.cancelled`; returns when nothing runs any more.
    func shutdown() async
}

extension HTTPTransport {
    /// Performs `request` and returns a successful body of at most `maximumBytes` as an array.
    package func perform(
        _ request: HTTPRequest, maximumBytes: Int
    ) async throws(HTTPTransportError) -> (response: HTTPResponse, body: [UInt8]) {
        let buffer = Buffer(capacity: 0)
        let response = try await perform(request, into: buffer, maximumBytes: maximumBytes)
        return (response, buffer.array())
    }
}
