/// The answer to a request. A body of status 200 to 299 is where the caller asked for it.
package struct HTTPResponse: Sendable {
    /// The status code, 200 to 599.
    package var status: Int
    package var headers: HTTPHeaders
    /// Bytes of a successful body.
    package var bodyCount: Int
    /// The beginning of the body of any other status, at most 64 KiB.
    package var failureBody: [UInt8]
    /// Whether the server sent the whole of the resource and the transport cut out `HTTPRequest.window`.
    package var isCut: Bool

    /// An answer.
    package init(status: Int, headers: HTTPHeaders, bodyCount: Int = 0, failureBody: [UInt8] = [], isCut: Bool = false)
    {
        self.status = status
        self.headers = headers
        self.bodyCount = bodyCount
        self.failureBody = failureBody
        self.isCut = isCut
    }

    /// Whether the status is 200 to 299.
    package var isSuccess: Bool { (200...299).contains(status) }
}
