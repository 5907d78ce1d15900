/// The head of a chunk that is stored as byte planes, and the measures that follow from it.
///
/// The form is specified in Format.md, "Byte planes": `form u8 ‖ raw length u32 ‖ edges ‖ block*`, numbers little-endian.
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
