package import Basics

/// What is asked of a method (RFC 9110, section 9).
package enum HTTPMethod: String, Sendable {
    case get = "GET"
    case head = "HEAD"
    case put = "PUT"
    case post = "POST"
    case delete = "DELETE"
    case patch = "PATCH"
    case options = "OPTIONS"
}

/// The bytes of a request, sent from where they lie. Nobody may change them before the call has returned.
package struct HTTPBody: Sendable {
    /// A part of a buffer.
    package struct Piece: Sendable {
        package let buffer: Buffer
        /// Within the buffer's valid bytes.
        package let range: Range<Int>

        /// The bytes `range` of `buffer`.
        package init(_ buffer: Buffer, _ range: Range<Int>) {
            precondition(range.lowerBound >= 0 && range.upperBound <= buffer.count, "a piece outside its buffer")
            self.buffer = buffer
            self.range = range
        }

        /// The bytes themselves.
        package var bytes: UnsafeRawBufferPointer {
            unsafe UnsafeRawBufferPointer(rebasing: buffer.bytes[range])
        }
    }

    /// In order; none of them empty.
    package let pieces: [Piece]
    /// Bytes in all pieces.
    package let count: Int

    /// A body of `pieces`.
    package init(pieces: [Piece]) {
        self.pieces = pieces.filter { !$0.range.isEmpty }
        count = pieces.reduce(0) { $0 + $1.range.count }
    }

    /// A body of whole buffers.
    package init(_ buffers: [Buffer]) {
        self.init(pieces: buffers.map { Piece($0, 0..<$0.count) })
    }

    /// A small body.
    package init(_ bytes: [UInt8]) {
        self.init([Buffer(bytes)])
    }
}

/// One request, complete: the transport adds nothing but `Content-Length` and what the connection needs.
package struct HTTPRequest: Sendable {
    package var method: HTTPMethod
    /// Absolute, `http` or `https`, percent-encoded by the caller; sent as it is, dots and all.
    package var url: String
    /// `Host` and `Content-Length` are the transport's.
    package var headers: HTTPHeaders
    /// Nil: a request without a body. An empty body announces a length of 0.
    package var body: HTTPBody?
    /// Asks the server whether it wants the body before it is sent (RFC 9110, 10.1.1); for large conditional uploads.
    package var expectsContinue = false
    /// Whether sending it twice does no harm. If not, the transport never repeats it on a new connection by itself.
    package var isReplayable = true
    /// The part of the resource that a `Range` header asks for. A server that ignores the header and sends the whole
    /// is read up to the end of the part, and only the part is kept.
    package var window: Range<UInt64>?
    /// Seconds without a byte in either direction after which the request fails; nil means the transport's own,
    /// 0 none: then a peer that is gone shows by TCP's keep-alive only, after ten minutes.
    package var stallSeconds: Int?
    /// Milliseconds that the whole request may take, connecting included; nil means no limit.
    package var totalMilliseconds: Int?
    /// Connects directly even when the environment names a proxy; for link-local services.
    package var bypassesProxy = false

    /// A request.
    package init(_ method: HTTPMethod, _ url: String, headers: HTTPHeaders = HTTPHeaders(), body: HTTPBody? = nil) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
    }

    /// Method and address as they may appear in messages and logs: without user, password, query and fragment.
    package var label: String {
        var address = url.prefix { $0 != "?" && $0 != "#" }
        if let start = address.firstRange(of: "://")?.upperBound {
            let authority = address[start...].prefix { $0 != "/" }
            if let at = authority.lastIndex(of: "@") {
                address.removeSubrange(start...at)
            }
        }
        return "\(method.rawValue) \(address)"
    }
}
