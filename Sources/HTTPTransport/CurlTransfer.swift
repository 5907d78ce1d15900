internal import Basics
internal import CCurl
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Whether the caller of a transfer has given up; set from any thread.
final class CancellationFlag: Sendable {
    let isSet = Atomic<Bool>(false)
}

/// One request and what has arrived of its answer.
///
/// `@unchecked Sendable`: until it is posted to the loop its maker owns it, then only the loop's thread touches it.
/// The request's buffers and the sink's are touched no more once `finish` has run.
@safe final class CurlTransfer: @unchecked Sendable {
    typealias Outcome = Result<HTTPResponse, HTTPTransportError>

    /// Where a successful body goes.
    @safe enum Sink {
        case buffer(Buffer, maximumBytes: Int)
        case receiver(@Sendable (UnsafeRawBufferPointer) -> Bool)
        case stream(ResponseStreamState)
    }

    /// Why a callback told libcurl to stop.
    enum Stop {
        case windowComplete, receiverDone, tooLarge, headersTooLarge
    }

    /// Bytes of header lines that are taken.
    private static let maximumHeaderBytes = 256 << 10
    /// Bytes of a failure's body that are kept: a server's error document is a few hundred.
    private static let maximumFailureBytes = 64 << 10
    /// Bytes of a failure's body that are read at all before the connection is given up instead.
    private static let maximumDiscardedBytes = 4 << 20
    /// CURL_ERROR_SIZE
    static let errorTextSize = 256

    let id: UInt64
    let request: HTTPRequest
    private let sink: Sink
    /// The loop looks at it when it takes the transfer on.
    let cancellation: CancellationFlag
    /// Where libcurl writes the reason of a failure.
    let errorText: UnsafeMutablePointer<CChar>
    private var completion: (@Sendable (Outcome) -> Void)?

    private var pieceIndex = 0
    private var pieceOffset = 0

    private var headerBytes: [UInt8] = []
    private var isHeadComplete = false
    private(set) var status = 0
    private var headers = HTTPHeaders()
    private var failureBody: [UInt8] = []
    private var discarded = 0
    private let bodyStart: Int
    private var bodyCount = 0
    private var toSkip: UInt64 = 0
    private var isCut = false
    private(set) var stop: Stop?

    init(
        id: UInt64, request: HTTPRequest, sink: Sink, cancellation: CancellationFlag,
        completion: @escaping @Sendable (Outcome) -> Void
    ) {
        self.cancellation = cancellation
        self.id = id
        self.request = request
        self.sink = sink
        self.completion = completion
        if case .buffer(let buffer, _) = sink { bodyStart = buffer.count } else { bodyStart = 0 }
        unsafe errorText = .allocate(capacity: Self.errorTextSize)
        unsafe errorText.initialize(repeating: 0, count: Self.errorTextSize)
        headerBytes.reserveCapacity(2048)
    }

    deinit { unsafe errorText.deallocate() }

    /// Ends the call. The first time counts.
    func finish(_ outcome: Outcome) {
        if case .failure = outcome, case .buffer(let buffer, _) = sink { buffer.count = bodyStart }
        completion?(outcome)
        completion = nil
    }

    /// What has arrived, once the body is complete.
    var response: HTTPResponse {
        HTTPResponse(status: status, headers: headers, bodyCount: bodyCount, failureBody: failureBody, isCut: isCut)
    }

    // MARK: Callbacks of libcurl, on the loop's thread

    /// Copies the next bytes of the body to `target`; answers how many, 0 at the end.
    func read(into target: UnsafeMutableRawBufferPointer) -> Int {
        guard let body = request.body else { return 0 }
        var filled = 0
        while filled < target.count, pieceIndex < body.pieces.count {
            let bytes = unsafe body.pieces[pieceIndex].bytes
            let count = min(target.count - filled, bytes.count - pieceOffset)
            guard let to = target.baseAddress, let from = bytes.baseAddress else { break }
            unsafe (to + filled).copyMemory(from: from + pieceOffset, byteCount: count)
            filled += count
            pieceOffset += count
            if pieceOffset == bytes.count {
                pieceIndex += 1
                pieceOffset = 0
            }
        }
        return filled
    }

    /// Makes `read` go on at `offset` of the body; false when that lies outside.
    func seek(to offset: Int64) -> Bool {
        guard let body = request.body, offset >= 0, offset <= Int64(body.count) else { return false }
        var rest = Int(offset)
        pieceIndex = 0
        while pieceIndex < body.pieces.count, rest >= body.pieces[pieceIndex].range.count {
            rest -= body.pieces[pieceIndex].range.count
            pieceIndex += 1
        }
        pieceOffset = rest
        return true
    }

    /// Takes one header line; false to stop.
    func takeHeader(_ line: UnsafeRawBufferPointer) -> Bool {
        if unsafe line.starts(with: "HTTP/".utf8) {
            headerBytes.removeAll(keepingCapacity: true)
            isHeadComplete = false
        } else if isHeadComplete {
            return true  // A trailer: nothing of ours.
        }
        guard headerBytes.count + line.count <= Self.maximumHeaderBytes else {
            stop = .headersTooLarge
            return false
        }
        unsafe headerBytes.append(contentsOf: line)
        let isBlank = unsafe line.allSatisfy { $0 == 0x0d || $0 == 0x0a }
        return isBlank ? completeHead() : true
    }

    /// Reads the header block; false to stop.
    private func completeHead() -> Bool {
        let lines = headerBytes.split(whereSeparator: { $0 == 0x0a }).map { line in
            String(decoding: line.last == 0x0d ? line.dropLast() : line, as: UTF8.self)
        }
        let words = (lines.first ?? "").split(separator: " ", maxSplits: 2)
        guard words.count >= 2, let code = Int(words[1]) else { return true }
        if code < 200 { return true }
        status = code
        isHeadComplete = true
        headers = HTTPHeaders()
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            let end = value.lastIndex { $0 != " " && $0 != "\t" }
            headers.add(String(line[..<colon]), end.map { String(value[...$0]) } ?? "")
        }
        return prepareBody()
    }

    /// Makes room for the announced body; false to stop.
    private func prepareBody() -> Bool {
        guard (200...299).contains(status), request.method != .head else { return true }
        let announced = headers["Content-Length"].flatMap { UInt64($0) }
        if status == 200, let window = request.window, headers["Content-Range"] == nil,
            announced ?? .max > window.upperBound - window.lowerBound
        {
            isCut = true
            toSkip = window.lowerBound
        }
        if case .stream(let stream) = sink { stream.begin(response) }
        guard case .buffer(let buffer, let maximum) = sink, let announced, !isCut else { return true }
        guard announced <= UInt64(maximum) else {
            stop = .tooLarge
            return false
        }
        buffer.ensureCapacity(bodyStart + Int(announced))
        return true
    }

    /// What libcurl's callback is to answer to bytes of the body: how many were taken, none to stop, or that it should
    /// come again with them when the transfer is resumed.
    func writeAnswer(_ bytes: UnsafeRawBufferPointer) -> Int {
        if case .stream(let stream) = sink, (200...299).contains(status), !stream.hasRoom() {
            return Int(CURL_WRITEFUNC_PAUSE)
        }
        return unsafe takeBody(bytes) ? bytes.count : 0
    }

    /// Takes bytes of the body; false to stop.
    private func takeBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard (200...299).contains(status) else {
            discarded += bytes.count
            unsafe failureBody.append(contentsOf: bytes.prefix(Self.maximumFailureBytes - failureBody.count))
            return discarded <= Self.maximumDiscardedBytes
        }
        guard isCut, let window = request.window else { return unsafe deliver(bytes) }
        let skipped = Int(min(toSkip, UInt64(bytes.count)))
        toSkip -= UInt64(skipped)
        let windowCount = Int(clamping: window.upperBound - window.lowerBound)
        let wanted = min(bytes.count - skipped, windowCount - bodyCount)
        guard unsafe deliver(UnsafeRawBufferPointer(rebasing: bytes[skipped..<skipped + wanted])) else { return false }
        if bodyCount == windowCount {
            stop = .windowComplete
            return false
        }
        return true
    }

    private func deliver(_ bytes: UnsafeRawBufferPointer) -> Bool {
        switch sink {
        case .receiver(let receive):
            bodyCount += bytes.count
            if unsafe receive(bytes) { return true }
            stop = .receiverDone
            return false
        case .stream(let stream):
            bodyCount += bytes.count
            unsafe stream.append(bytes)
            return true
        case .buffer(let buffer, let maximum):
            guard bodyCount + bytes.count <= maximum else {
                stop = .tooLarge
                return false
            }
            let end = bodyStart + bodyCount
            let needed = end + bytes.count
            if needed > buffer.capacity {
                buffer.ensureCapacity(max(needed, min(buffer.capacity * 2, bodyStart + maximum)))
            }
            if let from = bytes.baseAddress, let to = unsafe buffer.storage.baseAddress {
                unsafe (to + end).copyMemory(from: from, byteCount: bytes.count)
            }
            bodyCount += bytes.count
            buffer.count = needed
            return true
        }
    }
}
