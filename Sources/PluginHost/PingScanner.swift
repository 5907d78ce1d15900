/// Finds PINGs in the bytes that a client sends over HTTP/2, so that they can be answered beneath the HTTP/2 implementation.
///
/// grpc-go measures its bandwidth with a PING for about every message. swift-nio-http2 1.46.0 takes more than 200 control
/// frames in 30 seconds for an attack and hangs up, in the middle of a stream after some 50 MiB; its limit cannot be set
/// through grpc-swift-nio-transport 2.9.2. A PING needs no state of the connection (RFC 9113, section 6.7), so answering it
/// here changes nothing else. What limits a client's PINGs is its own bandwidth: an answer is as long as its question.
package struct PingScanner: Sendable {
    /// Where the scanner is in the stream.
    private enum Place {
        /// In the preface, or in a frame's payload that is passed on: so many bytes are left.
        case passing(Int)
        /// At the beginning of a frame, of which these bytes have come.
        case header([UInt8])
        /// In a PING, of whose payload these bytes have come.
        case ping([UInt8])
    }

    private var place: Place

    /// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n` (RFC 9113, section 3.4).
    private static let prefaceBytes = 24
    private static let headerBytes = 9
    private static let pingBytes = 8
    private static let pingType: UInt8 = 6
    private static let acknowledged: UInt8 = 1

    /// At the beginning of a connection, as its server sees it.
    package init() { place = .passing(Self.prefaceBytes) }

    /// Takes the next bytes of the stream. Appends to `passed` what the HTTP/2 implementation should see, and to `answers`
    /// the frames to send.
    ///
    /// A PING that is none (of another length, or on a stream) is passed on, for the implementation to refuse.
    package mutating func scan(_ bytes: Span<UInt8>, passed: inout [UInt8], answers: inout [UInt8]) {
        var index = 0
        while index < bytes.count {
            switch place {
            case .passing(let left):
                let count = min(left, bytes.count - index)
                bytes.extracting(index..<index + count).withUnsafeBufferPointer { passed.append(contentsOf: $0) }
                index += count
                place = count == left ? .header([]) : .passing(left - count)
            case .header(var header):
                header.append(bytes[index])
                index += 1
                guard header.count == Self.headerBytes else {
                    place = .header(header)
                    continue
                }
                place = next(after: header, passed: &passed)
            case .ping(var payload):
                payload.append(bytes[index])
                index += 1
                guard payload.count == Self.pingBytes else {
                    place = .ping(payload)
                    continue
                }
                answers += [0, 0, UInt8(Self.pingBytes), Self.pingType, Self.acknowledged, 0, 0, 0, 0]
                answers += payload
                place = .header([])
            }
        }
    }

    /// What comes after a frame's whole header, which is passed on unless it begins a PING.
    private func next(after header: [UInt8], passed: inout [UInt8]) -> Place {
        let length = Int(header[0]) << 16 | Int(header[1]) << 8 | Int(header[2])
        let stream = header[5...8].reduce(0) { $0 << 8 | UInt32($1) } & 0x7fff_ffff
        if header[3] == Self.pingType, header[4] & Self.acknowledged == 0, length == Self.pingBytes, stream == 0 {
            return .ping([])
        }
        passed += header
        return length == 0 ? .header([]) : .passing(length)
    }
}
