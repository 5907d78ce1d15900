internal import Basics
internal import CCompressionKernels

/// Opens chunks that `PlaneEncoder` stored. Input from strangers cannot make it write past the output, read past the
/// input or take memory by what a header claims.
///
/// One per thread; its context and its memory, some 0.7 MB, are made once.
@safe
package final class PlaneDecoder {
    private let decompressor = ZstdDecompressor()
    private let planes = PlaneScratch()

    /// A decoder. The process ends when there is no memory for it.
    package init() {}

    /// Whether a base is needed to open `bytes`. Throws `corrupted` when they are no chunk of byte planes.
    package static func needsBase(_ bytes: UnsafeRawBufferPointer) throws(CompressionError) -> Bool {
        try unsafe PlaneForm(bytes).transform.usesBase
    }

    /// Puts the chunk that is stored in `bytes` together at the start of `output`, which overlaps nothing.
    ///
    /// - Parameter base: the chunk that it was stored against, whole; not looked at unless it is needed.
    /// - Returns: bytes written, exactly as many as the header announces.
    /// - Throws: `corrupted` when `bytes` are not one whole chunk of byte planes; `tooLarge` when it announces more
    ///   than `output` takes; `baseMissing` when it needs a base of its length and has none. What is in `output` is
    ///   undefined then.
    package func decode(
        _ bytes: UnsafeRawBufferPointer, base: UnsafeRawBufferPointer? = nil,
        into output: UnsafeMutableRawBufferPointer
    ) throws(CompressionError) -> Int {
        let form = try unsafe PlaneForm(bytes)
        guard form.rawLength <= output.count else {
            throw CompressionError(
                .tooLarge, "byte planes announce \(form.rawLength) bytes where \(output.count) are allowed")
        }
        var other: UnsafeRawBufferPointer?
        if form.transform.usesBase {
            guard let base = unsafe base, base.count == form.rawLength else {
                throw CompressionError(
                    .baseMissing, "\(form.rawLength) bytes are stored as the difference to a chunk that is not here")
            }
            unsafe other = base
        }
        let head = PlaneForm.headerSize..<PlaneForm.headerSize + form.phase
        unsafe UnsafeMutableRawBufferPointer(rebasing: output[..<form.phase]).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: bytes[head]))
        unsafe UnsafeMutableRawBufferPointer(rebasing: output[form.rawLength - form.tail..<form.rawLength]).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: bytes[head.upperBound..<form.headSize]))
        var position = form.headSize
        var element = 0
        while element < form.elementCount {
            let count = min(form.blockElements, form.elementCount - element)
            let start = form.phase + element * form.width
            try unsafe locate(bytes, &position, form.width, count)
            // The kernel only reads the planes; its type says so, the list's does not.
            let places = unsafe UnsafeRawPointer(planes.places).assumingMemoryBound(to: UnsafePointer<UInt8>?.self)
            unsafe plane_merge(
                places, other?.baseAddress?.advanced(by: start).assumingMemoryBound(to: UInt8.self), count,
                Int32(form.width), Int32(form.transform.rawValue),
                output.baseAddress?.advanced(by: start).assumingMemoryBound(to: UInt8.self))
            element += count
        }
        guard position == bytes.count else {
            throw CompressionError(.corrupted, "\(bytes.count - position) bytes follow the last byte plane")
        }
        return form.rawLength
    }

    /// Reads the block at `position` and notes where its planes lie: in `bytes` themselves or unpacked in memory.
    private func locate(
        _ bytes: UnsafeRawBufferPointer, _ position: inout Int, _ width: Int, _ count: Int
    ) throws(CompressionError) {
        let methods = try unsafe Self.take(width, bytes, &position)
        for plane in 0..<width {
            guard let method = PlaneForm.Method(rawValue: unsafe methods[plane]) else {
                throw CompressionError(.corrupted, "there is no method \(unsafe methods[plane]) for a byte plane")
            }
            let memory = unsafe planes.plane(plane, count: count)
            unsafe planes.places[plane] = memory.baseAddress?.assumingMemoryBound(to: UInt8.self)
            switch method {
            case .stored:
                // Read where it lies, never written: see the kernel's signature.
                let content = try unsafe Self.take(count, bytes, &position)
                unsafe planes.places[plane] = UnsafeMutablePointer(
                    mutating: content.baseAddress?.assumingMemoryBound(to: UInt8.self))
            case .constant:
                let value = try unsafe Self.take(1, bytes, &position)
                unsafe memory.initializeMemory(as: UInt8.self, repeating: value[0])
            case .runs:
                let content = try unsafe Self.takePrefixed(bytes, &position)
                guard unsafe run_decode(content.baseAddress, content.count, memory.baseAddress, count) == 1 else {
                    throw CompressionError(.corrupted, "runs do not fill a byte plane of \(count) bytes")
                }
            case .zstd:
                try unsafe decompress(Self.takePrefixed(bytes, &position), into: memory)
            }
        }
    }

    /// Opens a frame that fills `plane`.
    private func decompress(
        _ frame: UnsafeRawBufferPointer, into plane: UnsafeMutableRawBufferPointer
    ) throws(CompressionError) {
        let written: Int
        do throws(CompressionError) {
            written = try unsafe decompressor.decompress(frame, into: plane)
        } catch {
            // A frame that is too large for its plane is no want of room in the output.
            throw CompressionError(.corrupted, "a byte plane cannot be opened: \(error.message)")
        }
        guard written == plane.count else {
            throw CompressionError(.corrupted, "a byte plane holds \(written) bytes instead of \(plane.count)")
        }
    }

    /// The next `count` bytes.
    private static func take(
        _ count: Int, _ bytes: UnsafeRawBufferPointer, _ position: inout Int
    ) throws(CompressionError) -> UnsafeRawBufferPointer {
        guard count <= bytes.count - position else {
            throw CompressionError(
                .corrupted, "byte planes end after \(bytes.count) bytes, in the middle of one")
        }
        defer { position += count }
        return unsafe UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
    }

    /// A length and so many bytes.
    private static func takePrefixed(
        _ bytes: UnsafeRawBufferPointer, _ position: inout Int
    ) throws(CompressionError) -> UnsafeRawBufferPointer {
        let length = try unsafe take(4, bytes, &position)
        return try unsafe take(Int(UInt32(littleEndian: length.loadUnaligned(as: UInt32.self))), bytes, &position)
    }
}
