internal import CZstd

/// Opens single Zstandard frames (RFC 8878) that say how much they hold. Input from strangers cannot make it write past
/// the output, take memory by what a header claims, or read on into a second frame.
///
/// One per thread; its context is made once.
@safe
package final class ZstdDecompressor {
    /// The frames' magic number. Skippable frames and those of zstd before 0.8 begin otherwise and are refused.
    private static let magic: UInt32 = 0xfd2f_b528

    private let context: OpaquePointer

    /// A decompressor. The process ends when there is no memory for its 160 KB.
    package init() {
        guard let context = unsafe ZSTD_createDCtx() else { preconditionFailure("no memory for a decompressor") }
        unsafe self.context = context
    }

    deinit { unsafe ZSTD_freeDCtx(context) }

    /// Decompresses `frame` to the start of `output`, which must not overlap it.
    ///
    /// - Returns: bytes written, exactly as many as the frame's header announces.
    /// - Throws: `corrupted` when `frame` is not one whole frame that announces its size, or breaks the promise;
    ///   `tooLarge` when it announces more than `output` takes. What is in `output` is undefined then.
    package func decompress(
        _ frame: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(CompressionError) -> Int {
        guard frame.count >= 4, unsafe UInt32(littleEndian: frame.loadUnaligned(as: UInt32.self)) == Self.magic else {
            throw CompressionError(.corrupted, "\(frame.count) bytes are no zstd frame")
        }
        let announced = unsafe ZSTD_getFrameContentSize(frame.baseAddress, frame.count)
        // The two highest values mean "not in the header" and "no header".
        guard announced < UInt64.max - 1 else {
            throw CompressionError(.corrupted, "a zstd frame of \(frame.count) bytes does not say how much it holds")
        }
        guard announced <= UInt64(output.count) else {
            throw CompressionError(
                .tooLarge, "a zstd frame announces \(announced) bytes where \(output.count) are allowed")
        }
        let extent = unsafe ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count)
        guard ZSTD_isError(extent) == 0, extent == frame.count else {
            throw CompressionError(.corrupted, "\(frame.count) bytes are not exactly one zstd frame")
        }
        let size = Int(announced)
        let result = unsafe ZSTD_decompressDCtx(context, output.baseAddress, size, frame.baseAddress, frame.count)
        guard ZSTD_isError(result) == 0 else {
            throw CompressionError(
                .corrupted, "a zstd frame of \(frame.count) bytes cannot be opened: \(zstdReason(result))")
        }
        guard result == size else {
            throw CompressionError(.corrupted, "a zstd frame holds \(result) bytes and announces \(size)")
        }
        return size
    }
}
