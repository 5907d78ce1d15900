/// The head of a chunk that is stored as byte planes, and the measures that follow from it.
///
/// Numbers are little-endian. The whole is
///
/// `form u8 ‖ raw length u32 ‖ edges ‖ block*`
///
/// - **form**: bits 0-1 the logarithm of the element's width w (1, 2, 4 or 8 bytes); bits 2-3 the transform (0 plain,
///   1 rotated, 2 difference, 3 exclusive or); bits 4-6 the phase p, the number of bytes before the first whole element
///   (less than w); bit 7 is 0.
/// - **raw length** n: the bytes that come out, at least p. They are p bytes, m = (n - p) / w elements, rounded down,
///   and t = n - p - m·w bytes (less than w).
/// - **edges**: the first p and the last t bytes as they are, untransformed.
/// - **block**: the elements in order, 131,072 to a block (65,536 when w is 8), fewer in the last; none when m is 0.
///   With e elements in the block it is `method u8 (w times) ‖ content (w times)`, one for each plane. Plane k is byte
///   k of each transformed element, counted from the least significant, e bytes in all.
///
/// The methods, and their content:
///
/// - 0 stored: the plane, e bytes.
/// - 1 constant: the one byte that fills the plane.
/// - 2 runs: `length u32 ‖ (byte ‖ count)*` in so many bytes. A count is unsigned LEB128 of one to four bytes and at
///   least 1; all counts together are e.
/// - 3 zstd: `length u32 ‖ frame`, one frame (RFC 8878) in exactly so many bytes, which announces and holds e bytes.
///
/// The transforms of an element x, an unsigned number of b = 8·w bits, to z and back. y is the element at the same
/// place of the base, a chunk of exactly n bytes that the reader is told of elsewhere.
///
/// - plain: z = x.
/// - rotated: z is x rotated left by one bit.
/// - difference: d = x - y modulo 2^b; z = 2d if d < 2^(b-1), else 2·(2^b - d) - 1. Back: d = z / 2 if z is even, else
///   2^b - (z + 1) / 2; x = y + d modulo 2^b.
/// - exclusive or: z = x xor y.
///
/// Nothing follows the last block. A reader refuses any other method, a head with bit 7 set or p ≥ w or n < p, a length
/// that reaches beyond the end, and bytes left over. Writers choose block by block and plane by plane; readers need not
/// know why. Any zstd reader opens the frames.
struct PlaneForm: Hashable {
    /// What becomes of an element before it is taken apart. The raw values are those of the kernels and of the format.
    enum Transform: UInt8, CaseIterable {
        case plain, rotated, difference, exclusiveOr

        /// Whether it takes a base.
        var usesBase: Bool { self == .difference || self == .exclusiveOr }
    }

    /// How a plane of a block is stored. The raw values are those of the format.
    enum Method: UInt8 {
        case stored, constant, runs, zstd
    }

    /// Bytes of form and raw length.
    static let headerSize = 5
    /// The most bytes of one block before it is taken apart, of one of its planes, and the most planes: with both
    /// copies in the second-level cache, and a plane one block of zstd, which are at most 128 KiB.
    static let blockBytes = 512 << 10
    static let mostPlaneBytes = 128 << 10
    static let mostPlanes = 8

    var width: Int
    var transform: Transform
    /// Bytes before the first whole element.
    var phase: Int
    var rawLength: Int

    /// Whole elements.
    var elementCount: Int { (rawLength - phase) / width }
    /// Bytes behind the last whole element.
    var tail: Int { (rawLength - phase) % width }
    /// Elements in every block but the last.
    var blockElements: Int { min(Self.mostPlaneBytes, Self.blockBytes / width) }
    /// Bytes of header and edges.
    var headSize: Int { Self.headerSize + phase + tail }

    init(width: Int, transform: Transform, phase: Int, rawLength: Int) {
        self.width = width
        self.transform = transform
        self.phase = phase
        self.rawLength = rawLength
    }

    /// Reads the header. Throws `corrupted`.
    init(_ bytes: UnsafeRawBufferPointer) throws(CompressionError) {
        guard bytes.count >= Self.headerSize else {
            throw CompressionError(.corrupted, "\(bytes.count) bytes are no chunk of byte planes")
        }
        let form = unsafe bytes[0]
        width = 1 << Int(form & 3)
        phase = Int(form >> 4 & 7)
        rawLength = Int(UInt32(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self)))
        guard let transform = Transform(rawValue: form >> 2 & 3), form < 0x80, phase < width, phase <= rawLength else {
            throw CompressionError(
                .corrupted, "byte planes of form \(form) cannot hold \(rawLength) bytes: the form is not valid")
        }
        self.transform = transform
        guard headSize <= bytes.count else {
            throw CompressionError(.corrupted, "\(bytes.count) bytes of byte planes end before the first plane")
        }
    }

    /// Writes the header to the start of `output`, which has room for it.
    func write(to output: UnsafeMutableRawBufferPointer) {
        let form = UInt8(width.trailingZeroBitCount) | transform.rawValue << 2 | UInt8(phase) << 4
        unsafe output[0] = form
        unsafe output.storeBytes(of: UInt32(rawLength).littleEndian, toByteOffset: 1, as: UInt32.self)
    }
}
