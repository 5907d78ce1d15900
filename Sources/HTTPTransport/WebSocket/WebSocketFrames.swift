/// A frame's meaning (RFC 6455, section 5.2).
enum WebSocketOpcode: UInt8, Sendable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    var isControl: Bool { rawValue >= 8 }
}

/// Takes a server's bytes apart into messages. Pure; every violation of RFC 6455 ends it with an error.
struct WebSocketDecoder {
    /// What a frame, or several, come to.
    enum Event: Hashable, Sendable {
        case message(isText: Bool, [UInt8])
        case ping([UInt8])
        case pong([UInt8])
        /// The peer's last frame: a status of section 7.4, if there is one, and its reason.
        case close(code: Int?, reason: String)
    }

    /// What the peer did wrong.
    struct Violation: Error, Hashable, CustomStringConvertible {
        let description: String
    }

    private let maximumMessageBytes: Int
    private var buffered: [UInt8] = []
    private var start = 0
    /// The pieces so far of a message that came in pieces.
    private var partial: (isText: Bool, bytes: [UInt8])?
    private var isClosed = false

    /// A decoder that takes messages of at most so many bytes.
    init(maximumMessageBytes: Int) { self.maximumMessageBytes = maximumMessageBytes }

    /// Bytes that wait for the rest of their frame.
    var bufferedCount: Int { buffered.count - start }

    /// Adds bytes from the network; `next` takes them apart.
    mutating func append(_ bytes: some Collection<UInt8>) {
        if start > 0 {
            buffered.removeFirst(start)
            start = 0
        }
        buffered.append(contentsOf: bytes)
    }

    /// The next event that is complete; nil when more bytes are needed, or after the close.
    mutating func next() throws(Violation) -> Event? {
        while !isClosed, let (opcode, isFinal, payload) = try nextFrame() {
            switch opcode {
            case .ping: return .ping(payload)
            case .pong: return .pong(payload)
            case .close: return try close(payload)
            case .text, .binary:
                guard partial == nil else { throw Violation(description: "a message within another one") }
                partial = (opcode == .text, payload)
            case .continuation:
                guard partial != nil else { throw Violation(description: "the continuation of no message") }
                partial?.bytes += payload
            }
            if let (isText, bytes) = partial, isFinal {
                partial = nil
                guard !isText || isUTF8(bytes) else { throw Violation(description: "text that is no UTF-8") }
                return .message(isText: isText, bytes)
            }
        }
        return nil
    }

    private mutating func close(_ payload: [UInt8]) throws(Violation) -> Event {
        guard payload.count != 1 else { throw Violation(description: "half a status in a close frame") }
        isClosed = true
        guard payload.count >= 2 else { return .close(code: nil, reason: "") }
        guard isUTF8(payload[2...]) else { throw Violation(description: "a close frame's reason that is no UTF-8") }
        return .close(
            code: Int(payload[0]) << 8 | Int(payload[1]), reason: String(decoding: payload[2...], as: UTF8.self))
    }

    private func isUTF8(_ bytes: some Collection<UInt8>) -> Bool { String(validating: bytes, as: UTF8.self) != nil }

    private mutating func nextFrame() throws(Violation) -> (WebSocketOpcode, isFinal: Bool, [UInt8])? {
        let bytes = buffered[start...]
        guard bytes.count >= 2 else { return nil }
        let (first, second) = (bytes[start], bytes[start + 1])
        guard first & 0x70 == 0 else { throw Violation(description: "a frame with bits that nobody agreed on") }
        guard let opcode = WebSocketOpcode(rawValue: first & 0x0f) else {
            throw Violation(description: "a frame of the unknown kind \(first & 0x0f)")
        }
        guard second & 0x80 == 0 else { throw Violation(description: "a masked frame from a server") }
        let isFinal = first & 0x80 != 0
        var length = UInt64(second & 0x7f)
        var headCount = 2
        if length >= 126 {
            headCount += length == 126 ? 2 : 8
            guard bytes.count >= headCount else { return nil }
            length = bytes[(start + 2)..<(start + headCount)].reduce(0) { $0 << 8 | UInt64($1) }
        }
        if opcode.isControl {
            guard isFinal, length <= 125 else {
                throw Violation(description: "a control frame that is split or too long")
            }
        }
        guard length <= UInt64(maximumMessageBytes - (partial?.bytes.count ?? 0)) else {
            throw Violation(description: "a message of more than \(maximumMessageBytes) bytes")
        }
        let end = start + headCount + Int(length)
        guard buffered.count >= end else { return nil }
        defer { start = end }
        return (opcode, isFinal, Array(buffered[(start + headCount)..<end]))
    }
}

/// Puts a client's frames together.
enum WebSocketEncoder {
    /// One whole frame, masked as a client's must be (section 5.3).
    static func frame(_ opcode: WebSocketOpcode, _ payload: [UInt8], mask: UInt32) -> [UInt8] {
        var frame: [UInt8] = [0x80 | opcode.rawValue]
        frame.reserveCapacity(payload.count + 14)
        switch payload.count {
        case ..<126: frame.append(0x80 | UInt8(payload.count))
        case ..<(1 << 16): frame += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xff)]
        default:
            frame.append(0x80 | 127)
            frame += (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        let key = (0..<4).map { UInt8(truncatingIfNeeded: mask >> (24 - 8 * UInt32($0))) }
        frame += key
        for (index, byte) in payload.enumerated() { frame.append(byte ^ key[index & 3]) }
        return frame
    }

    /// What a close frame carries.
    static func closePayload(code: Int, reason: String = "") -> [UInt8] {
        [UInt8(truncatingIfNeeded: code >> 8), UInt8(truncatingIfNeeded: code)] + reason.utf8.prefix(123)
    }
}
