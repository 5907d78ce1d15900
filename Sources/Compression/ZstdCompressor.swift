internal import CZstd

/// Compresses byte ranges to Zstandard frames (RFC 8878) that hold their content's size and no checksum: what is
/// stored is authenticated anyway.
///
/// One per thread. Its context is made once and keeps its tables: making one per chunk costs more than a small chunk.
@safe
package final class ZstdCompressor {
    /// Levels that are taken. Above 19 the window outgrows 8 MiB, the largest chunk, and only memory would grow;
    /// below -50 next to nothing is found.
    package static let levels: ClosedRange<Int32> = -50...19

    private let context: OpaquePointer

    /// A compressor at `level`. Throws `invalidParameters` outside `levels`, `libraryFailure` without memory.
    package convenience init(level: Int32) throws(CompressionError) {
        guard Self.levels.contains(level) else {
            throw CompressionError(
                .invalidParameters,
                "zstd level \(level) is not allowed; take one from \(Self.levels.lowerBound) to \(Self.levels.upperBound)"
            )
        }
        try self.init(
            [(ZSTD_c_compressionLevel, level)], refusal: "zstd does not take level \(level)")
    }

    /// A compressor with `parameters` set. Throws `libraryFailure` when the library refuses one or has no memory.
    init(_ parameters: [(ZSTD_cParameter, Int32)], refusal: String) throws(CompressionError) {
        guard let context = unsafe ZSTD_createCCtx() else {
            throw CompressionError(.libraryFailure, "there is no memory for a compressor")
        }
        unsafe self.context = context
        for (parameter, value) in parameters + [(ZSTD_c_contentSizeFlag, 1), (ZSTD_c_checksumFlag, 0)] {
            let result = unsafe ZSTD_CCtx_setParameter(context, parameter, value)
            guard ZSTD_isError(result) == 0 else {
                throw CompressionError(.libraryFailure, "\(refusal): \(zstdReason(result))")
            }
        }
    }

    deinit { unsafe ZSTD_freeCCtx(context) }

    /// Compresses `bytes` to one frame at the start of `output`, which must not overlap them.
    ///
    /// - Returns: bytes written, or nil when the frame does not fit: give as much room as would be worth it. What is in
    ///   `output` is undefined then.
    /// - Throws: `libraryFailure`, for want of memory.
    package func compress(
        _ bytes: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(CompressionError) -> Int? {
        let result = unsafe ZSTD_compress2(context, output.baseAddress, output.count, bytes.baseAddress, bytes.count)
        if ZSTD_isError(result) == 0 { return result }
        if ZSTD_getErrorCode(result) == ZSTD_error_dstSize_tooSmall { return nil }
        throw CompressionError(.libraryFailure, "\(bytes.count) bytes cannot be compressed: \(zstdReason(result))")
    }

    /// Room that a frame of `count` bytes always fits.
    package static func bound(_ count: Int) -> Int { ZSTD_compressBound(count) }
}

/// The library's words for an error.
func zstdReason(_ result: Int) -> String {
    guard let text = unsafe ZSTD_getErrorName(result) else { return "error \(result)" }
    return unsafe String(cString: text)
}
