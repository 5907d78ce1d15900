internal import TensorFiles

/// Reads MessagePack from a file through a small window, and passes over what it does not want without reading it.
struct MessagePackCursor {
    /// Why a file is no whole document.
    enum Fault: Error {
        case truncated(expectedSize: UInt64)
        case damaged(String)
        case unsupported(String)
    }

    /// One piece: containers and their elements are pieces that follow each other.
    enum Piece: Equatable {
        case map(count: UInt64)
        case array(count: UInt64)
        /// A text, when it is not longer than `longestText`; else it was passed over.
        case text(String?)
        /// Bytes, which lie there and were passed over.
        case binary(Range<UInt64>)
        /// An extension of a type, whose bytes lie there and were passed over.
        case `extension`(Int8, Range<UInt64>)
        /// A number that is no float and not negative.
        case unsigned(UInt64)
        /// Nil, a bool, a float, a negative number.
        case other
    }

    private static let windowBytes = 64 << 10
    static let longestText = 1024

    let source: any TensorByteSource
    let end: UInt64
    private(set) var offset: UInt64
    private var window: [UInt8] = []
    private var windowStart: UInt64 = 0

    init(_ source: any TensorByteSource, _ range: Range<UInt64>) {
        self.source = source
        offset = range.lowerBound
        end = range.upperBound
    }

    var isAtEnd: Bool { offset == end }

    private mutating func byte() throws -> UInt8 {
        guard offset < end else { throw Fault.truncated(expectedSize: offset + 1) }
        if offset < windowStart || offset >= windowStart + UInt64(window.count) {
            window = try source.bytes(offset..<min(end, offset + UInt64(Self.windowBytes)))
            windowStart = offset
            guard !window.isEmpty else { throw Fault.unsupported("the file shrank while it was read") }
        }
        defer { offset += 1 }
        return window[Int(offset - windowStart)]
    }

    /// A number of `count` bytes, the most significant first.
    private mutating func number(_ count: Int) throws -> UInt64 {
        var value: UInt64 = 0
        for _ in 0..<count { value = value << 8 | UInt64(try byte()) }
        return value
    }

    private mutating func skip(_ count: UInt64) throws -> Range<UInt64> {
        guard count <= end - offset else { throw Fault.truncated(expectedSize: offset &+ count) }
        defer { offset += count }
        return offset..<offset + count
    }

    private mutating func text(_ count: UInt64) throws -> Piece {
        guard count <= UInt64(Self.longestText) else {
            _ = try skip(count)
            return .text(nil)
        }
        guard count <= end - offset else { throw Fault.truncated(expectedSize: offset + count) }
        var bytes: [UInt8] = []
        for _ in 0..<count { bytes.append(try byte()) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw Fault.damaged("a text that is not UTF-8")
        }
        return .text(text)
    }

    private mutating func extended(_ count: UInt64) throws -> Piece {
        let type = Int8(bitPattern: try byte())
        return .extension(type, try skip(count))
    }

    /// The next piece (MessagePack's specification, "Formats").
    mutating func next() throws -> Piece {
        let first = try byte()
        switch first {
        case 0x00...0x7f: return .unsigned(UInt64(first))
        case 0x80...0x8f: return .map(count: UInt64(first & 0x0f))
        case 0x90...0x9f: return .array(count: UInt64(first & 0x0f))
        case 0xa0...0xbf: return try text(UInt64(first & 0x1f))
        case 0xc0, 0xc2, 0xc3, 0xe0...0xff: return .other
        case 0xc4...0xc6: return .binary(try skip(try number(1 << Int(first - 0xc4))))
        case 0xc7...0xc9: return try extended(try number(1 << Int(first - 0xc7)))
        case 0xca, 0xcb, 0xd0...0xd3:
            _ = try skip(UInt64(first == 0xca ? 4 : first == 0xcb ? 8 : 1 << Int(first - 0xd0)))
            return .other
        case 0xcc...0xcf: return .unsigned(try number(1 << Int(first - 0xcc)))
        case 0xd4...0xd8: return try extended(1 << UInt64(first - 0xd4))
        case 0xd9...0xdb: return try text(try number(1 << Int(first - 0xd9)))
        case 0xdc, 0xdd: return .array(count: try number(first == 0xdc ? 2 : 4))
        case 0xde, 0xdf: return .map(count: try number(first == 0xde ? 2 : 4))
        default: throw Fault.damaged("the byte 0xc1, which begins nothing")
        }
    }
}
