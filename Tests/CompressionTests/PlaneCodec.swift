import Compression
import Testing

/// Encoder and decoder of one thread, called with arrays, with guards around the output.
final class PlaneCodec {
    let encoder: PlaneEncoder
    let decoder = PlaneDecoder()
    private static let guardBytes = 64

    init() throws { encoder = try PlaneEncoder() }

    /// What `pieces`, one after another, become; nil when it does not pay.
    func encode(
        _ pieces: [[UInt8]], at offset: Int = 0, base: [[UInt8]]? = nil, _ verdict: TensorVerdict, room: Int? = nil
    ) throws -> [UInt8]? {
        let count = pieces.reduce(0) { $0 + $1.count }
        let room = room ?? count + 100
        var output = [UInt8](repeating: 0xee, count: room + Self.guardBytes)
        let encoded = try Self.withMemory(pieces) { pieces in
            try Self.withMemory(base ?? []) { memory in
                try output.withUnsafeMutableBytes { output in
                    try encoder.encode(
                        pieces, at: offset, base: base == nil ? nil : memory, verdict: verdict,
                        into: UnsafeMutableRawBufferPointer(rebasing: output[..<room]))
                }
            }
        }
        #expect(output.suffix(Self.guardBytes).allSatisfy { $0 == 0xee }, "written past the output")
        guard let encoded else { return nil }
        let bytes = Array(output.prefix(encoded.count))
        let usesBase = try bytes.withUnsafeBytes { try PlaneDecoder.needsBase($0) }
        #expect(encoded.usesBase == usesBase)
        return bytes
    }

    /// What comes out of `bytes` in `room`.
    func decode(_ bytes: [UInt8], base: [UInt8]? = nil, room: Int) throws -> [UInt8] {
        var output = [UInt8](repeating: 0xee, count: room + Self.guardBytes)
        defer { #expect(output.suffix(Self.guardBytes).allSatisfy { $0 == 0xee }, "written past the output") }
        let written = try Self.withMemory([bytes]) { bytes in
            try Self.withMemory([base ?? []]) { memory in
                try output.withUnsafeMutableBytes { output in
                    try decoder.decode(
                        bytes[0], base: base == nil ? nil : memory[0],
                        into: UnsafeMutableRawBufferPointer(rebasing: output[..<room]))
                }
            }
        }
        return Array(output.prefix(written))
    }

    /// Encodes with a verdict of its own, decodes, if it is not much in two ways, and compares. Answers the encoded form.
    @discardableResult
    func roundTrip(
        _ bytes: [UInt8], _ elements: ElementLayout?, at offset: Int = 0, base: [UInt8]? = nil,
        _ comment: Comment? = nil
    ) throws -> [UInt8]? {
        let verdict = TensorVerdict(elements: elements)
        guard let encoded = try encode([bytes], at: offset, base: base.map { [$0] }, verdict) else { return nil }
        #expect(encoded.count * 100 <= bytes.count * 97, comment)
        #expect(try decode(encoded, base: base, room: bytes.count) == bytes, comment)
        #expect(try decode(encoded, base: base, room: bytes.count + 1000) == bytes, comment)
        if bytes.count <= 40_000 { #expect(try PlaneReader(encoded, base: base ?? []).content == bytes, comment) }
        return encoded
    }

    /// Memory of exactly the pieces' sizes, so that a sanitizer sees every step outside.
    private static func withMemory<Result>(
        _ pieces: [[UInt8]], _ body: ([UnsafeRawBufferPointer]) throws -> Result
    ) rethrows -> Result {
        let memory = pieces.map { piece -> UnsafeMutableRawBufferPointer in
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: piece.count, alignment: 1)
            copy.copyBytes(from: piece)
            return copy
        }
        defer { for copy in memory { copy.deallocate() } }
        return try body(memory.map { UnsafeRawBufferPointer($0) })
    }
}
