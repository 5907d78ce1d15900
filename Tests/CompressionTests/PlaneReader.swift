import Compression
import Testing

/// Opens byte planes by the words of the specification (`PlaneForm`) and nothing else: slow, without a kernel, so that
/// encoder and decoder cannot be wrong in the same way.
struct PlaneReader {
    struct Malformed: Error {}

    /// What the header says.
    struct Head: Equatable {
        var width: Int
        /// 0 plain, 1 rotated, 2 difference, 3 exclusive or.
        var transform: Int
        var phase: Int
        var rawLength: Int

        init(_ bytes: [UInt8]) throws {
            guard bytes.count >= 5, bytes[0] < 0x80 else { throw Malformed() }
            width = 1 << Int(bytes[0] & 3)
            transform = Int(bytes[0] >> 2 & 3)
            phase = Int(bytes[0] >> 4)
            rawLength = (0..<4).reduce(0) { $0 | Int(bytes[1 + $1]) << (8 * $1) }
            guard phase < width, phase <= rawLength else { throw Malformed() }
        }
    }

    let head: Head
    /// The methods of all planes, block after block, the least significant plane first.
    private(set) var methods: [[UInt8]] = []
    private(set) var content: [UInt8] = []
    private let bytes: [UInt8]
    private var position = 5

    init(_ bytes: [UInt8], base: [UInt8] = []) throws {
        self.bytes = bytes
        head = try Head(bytes)
        let count = (head.rawLength - head.phase) / head.width
        let tail = (head.rawLength - head.phase) % head.width
        content = try take(head.phase)
        let end = try take(tail)
        var element = 0
        while element < count {
            let size = min(head.width == 8 ? 65_536 : 131_072, count - element)
            try readBlock(size, base)
            element += size
        }
        content += end
        guard position == bytes.count, content.count == head.rawLength else { throw Malformed() }
    }

    private mutating func take(_ count: Int) throws -> [UInt8] {
        guard count <= bytes.count - position else { throw Malformed() }
        defer { position += count }
        return Array(bytes[position..<position + count])
    }

    private mutating func takePrefixed() throws -> [UInt8] {
        let length = try take(4)
        return try take((0..<4).reduce(0) { $0 | Int(length[$1]) << (8 * $1) })
    }

    private mutating func readBlock(_ count: Int, _ base: [UInt8]) throws {
        let methods = try take(head.width)
        self.methods.append(methods)
        var planes: [[UInt8]] = []
        for method in methods { planes.append(try readPlane(method, count)) }
        let bits = UInt64(8 * head.width)
        let mask = bits == 64 ? UInt64.max : 1 << bits - 1
        for index in 0..<count {
            var value: UInt64 = 0
            for plane in 0..<head.width { value |= UInt64(planes[plane][index]) << UInt64(8 * plane) }
            var other: UInt64 = 0
            if head.transform >= 2 {
                for place in 0..<head.width { other |= UInt64(base[content.count + place]) << UInt64(8 * place) }
            }
            switch head.transform {
            case 0: break
            case 1: value = value >> 1 | (value & 1) << (bits - 1)
            case 2: value = (((value >> 1) ^ (value & 1 == 1 ? mask : 0)) &+ other) & mask
            default: value ^= other
            }
            for place in 0..<head.width { content.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * place))) }
        }
    }

    private mutating func readPlane(_ method: UInt8, _ count: Int) throws -> [UInt8] {
        switch method {
        case 0: return try take(count)
        case 1: return [UInt8](repeating: try take(1)[0], count: count)
        case 2:
            var rest = try takePrefixed()[...]
            var plane: [UInt8] = []
            while let value = rest.popFirst() {
                var run = 0
                for shift in [0, 7, 14, 21] {
                    guard let group = rest.popFirst() else { throw Malformed() }
                    run |= Int(group & 0x7f) << shift
                    if group < 0x80 { break }
                }
                plane += [UInt8](repeating: value, count: run)
            }
            guard plane.count == count else { throw Malformed() }
            return plane
        case 3:
            let frame = try takePrefixed()
            var plane = [UInt8](repeating: 0, count: count)
            let written = try frame.withUnsafeBytes { frame in
                try plane.withUnsafeMutableBytes { try ZstdDecompressor().decompress(frame, into: $0) }
            }
            guard written == count else { throw Malformed() }
            return plane
        default: throw Malformed()
        }
    }
}
