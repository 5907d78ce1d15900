/// A cheap look at a chunk: would zstd make it at least 3 % smaller?
///
/// Four stretches spread over the chunk, together 1/128 of it (at least 4 KiB, at most 16 KiB), are compressed at
/// level 1 as one frame. zstd codes literals by their order-0 frequencies and finds repetitions, so one try answers
/// both questions, and it gives up on noise at several GB/s. One per thread.
package final class CompressibilitySample {
    /// A chunk is worth compressing when at most so many hundredths are left.
    package static let worthwhilePercent = 97

    private static let stretches = 4
    private static let smallest = 4 << 10
    private static let largest = 16 << 10

    private let compressor: ZstdCompressor
    private var sample = [UInt8](repeating: 0, count: largest)
    private var result = [UInt8](repeating: 0, count: largest)

    /// A sampler with a small compressor of its own, so that the worker's level does not make the look dear.
    /// Throws `libraryFailure` without memory.
    package init() throws(CompressionError) {
        compressor = try ZstdCompressor(level: 1)
    }

    /// Whether the concatenation of `pieces` is likely to shrink by 3 % or more. A guess from the sample: the result of
    /// the compression itself decides. True also when the try fails, so that the real compression reports why.
    package func pays(_ pieces: [UnsafeRawBufferPointer]) -> Bool {
        var total = 0
        for index in unsafe pieces.indices { total += unsafe pieces[index].count }
        guard total > 0 else { return false }
        let size = min(total, max(Self.smallest, min(Self.largest, total / 128 / Self.stretches * Self.stretches)))
        return unsafe sample.withUnsafeMutableBytes { sample in
            unsafe gather(pieces, total: total, into: UnsafeMutableRawBufferPointer(rebasing: sample[..<size]))
            let room = size * Self.worthwhilePercent / 100
            return unsafe result.withUnsafeMutableBytes { result in
                do throws(CompressionError) {
                    let place = unsafe UnsafeMutableRawBufferPointer(rebasing: result[..<room])
                    return try unsafe compressor.compress(
                        UnsafeRawBufferPointer(rebasing: sample[..<size]), into: place) != nil
                } catch {
                    return true
                }
            }
        }
    }

    /// Fills `sample` with stretches that begin at equal distances, the first at the start and the last at the end.
    private func gather(
        _ pieces: [UnsafeRawBufferPointer], total: Int, into sample: UnsafeMutableRawBufferPointer
    ) {
        guard sample.count < total else { return unsafe copy(pieces, from: 0, into: sample) }
        let length = sample.count / Self.stretches
        for stretch in 0..<Self.stretches {
            let place = unsafe UnsafeMutableRawBufferPointer(
                rebasing: sample[stretch * length..<(stretch + 1) * length])
            unsafe copy(pieces, from: (total - length) / (Self.stretches - 1) * stretch, into: place)
        }
    }

    /// Copies what begins `start` bytes into the concatenation of `pieces`, as much as `place` takes.
    private func copy(_ pieces: [UnsafeRawBufferPointer], from start: Int, into place: UnsafeMutableRawBufferPointer) {
        var skip = start
        var filled = 0
        for index in unsafe pieces.indices where filled < place.count {
            let piece = unsafe pieces[index]
            if skip >= piece.count {
                skip -= piece.count
                continue
            }
            let count = min(piece.count - skip, place.count - filled)
            let from = unsafe UnsafeRawBufferPointer(rebasing: piece[skip..<skip + count])
            unsafe UnsafeMutableRawBufferPointer(rebasing: place[filled..<filled + count]).copyMemory(from: from)
            filled += count
            skip = 0
        }
    }
}
