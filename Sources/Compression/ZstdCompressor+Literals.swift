internal import CZstd

/// zstd as a Huffman coder: frames that any reader opens, made without a search for repetitions, which in a plane of
/// exponents costs three to six times the time and finds less than the frequencies of single bytes give.
extension ZstdCompressor {
    /// A compressor that codes single bytes by their frequencies. Throws `libraryFailure` without memory.
    package static func literals() throws(CompressionError) -> ZstdCompressor {
        if hasLiteralMode { return try ZstdCompressor(literalMode, refusal: "zstd does not take its literal mode") }
        return try ZstdCompressor(shortSearch, refusal: "zstd does not take a short search")
    }

    /// A search so short that it finds next to nothing. The window bounds a block, and each block has a code of its own
    /// or takes the last one's: at 8 KiB the code follows the rows of a matrix, whose scales differ. That makes planes
    /// of exponents 1 to 10 % smaller than blocks of 128 KiB do, costs no time, and 0.3 % of a plane where all rows are
    /// alike; at 4 KiB it would cost a third of the time.
    private static let shortSearch: [(ZSTD_cParameter, Int32)] = [
        (ZSTD_c_compressionLevel, 1), (ZSTD_c_strategy, Int32(ZSTD_fast.rawValue)), (ZSTD_c_hashLog, 6),
        (ZSTD_c_minMatch, 7), (ZSTD_c_windowLog, 13),
    ]

    /// The same with steps of a whole block, and literals compressed all the same: parameter 1002, whose name the
    /// library's header calls experimental. Its number is good in the shared library of every version since 1.3.8.
    private static let literalMode: [(ZSTD_cParameter, Int32)] =
        shortSearch + [(ZSTD_c_targetLength, 131_072), (ZSTD_cParameter(1002), 1)]

    /// Whether the library takes the literal mode, and reads back what it makes of bytes with few values.
    static let hasLiteralMode: Bool = {
        // Four values, half of them the first: 1.75 bits for each byte.
        let count = 16 << 10
        var state: UInt32 = 1
        let bytes = (0..<count).map { _ in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(min((state >> 28).leadingZeroBitCount - 28, 3))
        }
        do {
            let compressor = try ZstdCompressor(literalMode, refusal: "no literal mode")
            var frame = [UInt8](repeating: 0, count: count)
            let length = try unsafe bytes.withUnsafeBytes { bytes in
                try unsafe frame.withUnsafeMutableBytes { frame in try unsafe compressor.compress(bytes, into: frame) }
            }
            guard let length, length < count / 2 else { return false }
            var back = [UInt8](repeating: 0xff, count: count)
            let written = try unsafe frame.withUnsafeBytes { frame in
                try unsafe back.withUnsafeMutableBytes { back in
                    try unsafe ZstdDecompressor().decompress(
                        UnsafeRawBufferPointer(rebasing: frame[..<length]), into: back)
                }
            }
            return written == count && back == bytes
        } catch {
            return false
        }
    }()
}
