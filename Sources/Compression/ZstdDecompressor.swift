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

    /// The content of a frame that another program wrote, which need not announce its size.
    ///
    /// Takes memory by what the frame holds, not by what it claims: at most twice that, and `mostBytes`.
    ///
    /// - Throws: `corrupted` when `frame` is not one whole frame; `tooLarge` when it holds more than `mostBytes`, or
    ///   cannot be opened within that, which the library does not tell apart.
    package func decompress(foreign frame: [UInt8], atMost mostBytes: Int) throws(CompressionError) -> [UInt8] {
        let extent = unsafe frame.withUnsafeBytes { unsafe ZSTD_findFrameCompressedSize($0.baseAddress, $0.count) }
        let begins = frame.prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        guard begins == Self.magic, ZSTD_isError(extent) == 0, extent == frame.count else {
            throw CompressionError(.corrupted, "\(frame.count) bytes are not exactly one zstd frame")
        }
        var capacity = min(max(4 * frame.count, 64 << 10), mostBytes)
        while true {
            var failure: Int?
            let content = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
                let result = unsafe frame.withUnsafeBytes {
                    unsafe ZSTD_decompressDCtx(context, buffer.baseAddress, capacity, $0.baseAddress, $0.count)
                }
                if ZSTD_isError(result) == 0 { count = result } else { failure = result }
            }
            guard let failure else { return content }
            guard capacity < mostBytes else {
                throw CompressionError(
                    .tooLarge,
                    "a zstd frame of \(frame.count) bytes cannot be opened in \(mostBytes): \(zstdReason(failure))")
            }
            capacity = capacity > mostBytes / 2 ? mostBytes : capacity * 2
        }
    }
}
