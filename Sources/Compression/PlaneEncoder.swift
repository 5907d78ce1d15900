internal import Basics
internal import CCompressionKernels

/// Stores chunks of tensors as byte planes, in the form that `PlaneForm` specifies: byte k of each element beside byte
/// k of the next, each plane by itself as cheaply as it goes; against a base, where one is given, what changed.
///
/// One per thread: its contexts and its memory, some 3 MB, are made once. Nothing is allocated for a chunk.
@safe
package final class PlaneEncoder {
    /// A chunk that was stored as planes.
    package struct Encoded: Hashable, Sendable {
        /// Bytes written.
        package var count: Int
        /// Whether the base is needed to read it.
        package var usesBase: Bool
    }

    /// A chunk is worth taking apart when at most so many hundredths are left.
    package static let worthwhilePercent = 97
    /// Shorter chunks are not looked at.
    package static let smallest = 512

    let literals: ZstdCompressor
    let matches: ZstdCompressor
    let planes = PlaneScratch()
    /// Elements that lie in two pieces, and samples.
    private(set) lazy var gathered = Buffer(capacity: PlaneForm.blockBytes)
    private(set) lazy var gatheredBase = Buffer(capacity: PlaneForm.blockBytes)
    /// What a plane's sample is compressed to.
    let result = Buffer(capacity: PlaneSampling.mostElements)
    var statistics = ByteStatistics()

    /// An encoder for one thread. Throws `libraryFailure` without memory.
    package init() throws(CompressionError) {
        literals = try ZstdCompressor.literals()
        matches = try ZstdCompressor(level: 1)
    }

    /// Stores the chunk whose bytes are `pieces`, one after another, at the start of `output`, which overlaps nothing.
    ///
    /// - Parameters:
    ///   - offset: where the chunk begins, in bytes from the start of its tensor, or of its file if `verdict` knows no
    ///     layout. It tells where elements begin.
    ///   - base: a chunk that this one may resemble, to store the difference; ignored unless it is as long.
    ///   - verdict: what is known of the chunk's tensor; brought up to date.
    /// - Returns: nil when less than 3 % would be gained, or what is gained does not fit `output`, whose content is
    ///   undefined then: store the chunk otherwise.
    /// - Throws: `libraryFailure`, for want of memory.
    package func encode(
        _ pieces: [UnsafeRawBufferPointer], at offset: Int, base: [UnsafeRawBufferPointer]? = nil,
        verdict: TensorVerdict, into output: UnsafeMutableRawBufferPointer
    ) throws(CompressionError) -> Encoded? {
        let source = unsafe PieceList(pieces)
        guard source.count >= Self.smallest, source.count <= Int(UInt32.max) else { return nil }
        var other: PieceList?
        if let base = unsafe base {
            let list = unsafe PieceList(base)
            if list.count == source.count { other = list }
        }
        let limit = source.count / 100 * Self.worthwhilePercent + source.count % 100 * Self.worthwhilePercent / 100
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: output[..<min(output.count, limit)])
        switch verdict.next(withBase: other != nil) {
        case .doesNotPay: return nil
        case .untested: break
        case .plan(let plan):
            if let encoded = try unsafe encode(source, other, plan, at: offset, into: room) { return encoded }
        }
        let plan = try choosePlan(source, other, verdict.elements, at: offset)
        verdict.record(plan, withBase: other != nil)
        guard let plan else { return nil }
        let encoded = try unsafe encode(source, other, plan, at: offset, into: room)
        if encoded == nil { verdict.record(nil, withBase: other != nil) }
        return encoded
    }

    /// Stores the chunk by `plan`; nil when it does not fit `output`.
    private func encode(
        _ source: PieceList, _ base: PieceList?, _ plan: PlanePlan, at offset: Int,
        into output: UnsafeMutableRawBufferPointer
    ) throws(CompressionError) -> Encoded? {
        let form = PlaneForm(
            width: plan.width, transform: plan.transform, phase: plan.phase(at: offset), rawLength: source.count)
        guard output.count > form.headSize, base != nil || !form.transform.usesBase else { return nil }
        unsafe form.write(to: output)
        let head = PlaneForm.headerSize..<PlaneForm.headerSize + form.phase
        unsafe source.copy(from: 0, into: UnsafeMutableRawBufferPointer(rebasing: output[head]))
        unsafe source.copy(
            from: form.rawLength - form.tail,
            into: UnsafeMutableRawBufferPointer(rebasing: output[head.upperBound..<form.headSize]))
        var written = form.headSize
        var element = 0
        while element < form.elementCount {
            let count = min(form.blockElements, form.elementCount - element)
            let start = form.phase + element * form.width
            let size = count * form.width
            let bytes = unsafe source.contiguous(from: start, count: size) ?? gather(source, start, size, gathered)
            var baseBytes: UnsafeRawBufferPointer?
            if form.transform.usesBase, let base {
                unsafe baseBytes =
                    base.contiguous(from: start, count: size) ?? gather(base, start, size, gatheredBase)
            }
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: output[written...])
            guard let added = try unsafe encodeBlock(bytes, baseBytes, plan, into: rest) else { return nil }
            written += added
            element += count
        }
        return Encoded(count: written, usesBase: form.transform.usesBase)
    }

    /// A copy in one piece.
    private func gather(_ source: PieceList, _ start: Int, _ count: Int, _ buffer: Buffer) -> UnsafeRawBufferPointer {
        let place = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.storage[..<count])
        unsafe source.copy(from: start, into: place)
        return UnsafeRawBufferPointer(place)
    }

    /// Stores a block's elements; nil when it does not fit `output`.
    private func encodeBlock(
        _ bytes: UnsafeRawBufferPointer, _ base: UnsafeRawBufferPointer?, _ plan: PlanePlan,
        into output: UnsafeMutableRawBufferPointer
    ) throws(CompressionError) -> Int? {
        let width = plan.width
        let count = bytes.count / width
        guard output.count > width else { return nil }
        // The least significant planes are most often noise: those go straight where they are to be stored.
        for plane in 0..<width { unsafe planes.places[plane] = nil }
        var direct = width
        while direct < width + count * width, direct + count <= output.count {
            let plane = (direct - width) / count
            guard plan[plane] == .stored else { break }
            unsafe planes.places[plane] = output.baseAddress?.advanced(by: direct).assumingMemoryBound(to: UInt8.self)
            direct += count
        }
        for plane in 0..<width where unsafe planes.places[plane] == nil {
            unsafe planes.places[plane] =
                planes.plane(plane, count: count).baseAddress?.assumingMemoryBound(to: UInt8.self)
        }
        unsafe plane_split(
            bytes.baseAddress, base?.baseAddress, count, Int32(width), Int32(plan.transform.rawValue), planes.places)
        var written = width
        for plane in 0..<width {
            let content = unsafe UnsafeRawBufferPointer(start: planes.places[plane], count: count)
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: output[written...])
            guard let (method, size) = try unsafe store(content, plan[plane], into: rest) else { return nil }
            unsafe output[plane] = method.rawValue
            written += size
        }
        return written
    }

    /// Stores a plane at the start of `output`, where it may lie already; nil when it does not fit.
    private func store(
        _ plane: UnsafeRawBufferPointer, _ method: PlanePlan.Method, into output: UnsafeMutableRawBufferPointer
    ) throws(CompressionError) -> (PlaneForm.Method, Int)? {
        guard let first = unsafe plane.first, output.count > 0 else { return nil }
        if unsafe run_length(plane.baseAddress, plane.count) == plane.count {
            unsafe output[0] = first
            return (.constant, 1)
        }
        let prefix = MemoryLayout<UInt32>.size
        // What takes as much as the plane itself is stored as it is.
        let room = min(output.count, plane.count) - prefix
        if method != .stored, room > 0 {
            let place = unsafe UnsafeMutableRawBufferPointer(rebasing: output[prefix..<prefix + room])
            var stored = PlaneForm.Method.zstd
            var size: Int?
            if method == .runs {
                // More than this, and zstd does better.
                let runs = unsafe run_encode(
                    plane.baseAddress, plane.count, place.baseAddress, min(room, plane.count / 16))
                if runs > 0 { (stored, size) = (.runs, runs) }
            }
            if size == nil {
                let compressor = method == .literals ? literals : matches
                size = try unsafe compressor.compress(plane, into: place)
            }
            if let size {
                unsafe output.storeBytes(of: UInt32(size).littleEndian, as: UInt32.self)
                return (stored, prefix + size)
            }
        }
        guard plane.count <= output.count else { return nil }
        if unsafe plane.baseAddress != UnsafeRawPointer(output.baseAddress) {
            unsafe UnsafeMutableRawBufferPointer(rebasing: output[..<plane.count]).copyMemory(from: plane)
        }
        return (.stored, plane.count)
    }
}
