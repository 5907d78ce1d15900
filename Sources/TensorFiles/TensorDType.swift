/// What the elements of a tensor are.
package enum TensorDType: Hashable, Sendable {
    case bool
    case u8, u16, u32, u64
    case i8, i16, i32, i64
    case f16, bf16, f32, f64
    case f8e4m3, f8e5m2, f8e8m0, f8e4m3fnuz, f8e5m2fnuz
    /// Six and four bits an element, packed.
    case f6e2m3, f6e3m2, f4
    /// Two floats of half the size: 4, 8 and 16 bytes.
    case c32, c64, c128
    /// Blocks of so many elements in so many bytes, which mean something only together. The name is the format's.
    case quantised(name: String, blockElements: Int, blockBytes: Int)
    /// Elements of a known size whose meaning is not known here. The name is the format's.
    case other(name: String, elementBytes: Int)

    /// The name that reports use: `bf16`, `f32`, or the format's own.
    package var name: String {
        switch self {
        case .quantised(let name, _, _), .other(let name, _): name
        default: "\(self)"
        }
    }

    /// Bits of an element; for a quantised type the average, rounded up.
    package var bits: Int {
        switch self {
        case .f4: 4
        case .f6e2m3, .f6e3m2: 6
        case .bool, .u8, .i8, .f8e4m3, .f8e5m2, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz: 8
        case .u16, .i16, .f16, .bf16: 16
        case .u32, .i32, .f32, .c32: 32
        case .u64, .i64, .f64, .c64: 64
        case .c128: 128
        case .quantised(_, let elements, let bytes): (8 * bytes + elements - 1) / elements
        case .other(_, let bytes): 8 * bytes
        }
    }

    /// Bytes after which the bytes of a tensor repeat their roles: what a codec may split into planes, and what a cut
    /// keeps whole. The float's for complex numbers; 1 where planes are of no use.
    package var width: Int {
        switch self {
        case .u16, .i16, .f16, .bf16, .c32: 2
        case .u32, .i32, .f32, .c64: 4
        case .u64, .i64, .f64, .c128: 8
        case .other(_, let bytes) where [2, 4, 8].contains(bytes): bytes
        default: 1
        }
    }

    /// Bytes of `elements` elements, or nil when they fill no whole number of bytes or blocks, or 2^64 bytes and more.
    package func byteCount(elements: UInt64) -> UInt64? {
        switch self {
        case .quantised(_, let blockElements, let blockBytes):
            let (blocks, rest) = elements.quotientAndRemainder(dividingBy: UInt64(blockElements))
            guard rest == 0 else { return nil }
            return Self.product(blocks, UInt64(blockBytes))
        case .f4, .f6e2m3, .f6e3m2:
            guard let total = Self.product(elements, UInt64(bits)), total.isMultiple(of: 8) else { return nil }
            return total / 8
        default:
            return Self.product(elements, UInt64(bits / 8))
        }
    }

    private static func product(_ left: UInt64, _ right: UInt64) -> UInt64? {
        let (value, overflow) = left.multipliedReportingOverflow(by: right)
        return overflow ? nil : value
    }

    /// The number of elements of a tensor with this shape, or nil from 2^64 on. A tensor without dimensions has one.
    package static func elements(of shape: [UInt64]) -> UInt64? {
        // A zero anywhere makes it empty, however large the others are.
        if shape.contains(0) { return 0 }
        return shape.reduce(UInt64?(1)) { total, size in total.flatMap { product($0, size) } }
    }
}
