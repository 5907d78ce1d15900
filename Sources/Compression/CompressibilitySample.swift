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
        let source = unsafe PieceList(pieces)
        let total = source.count
        guard total > 0 else { return false }
        let size = min(total, max(Self.smallest, min(Self.largest, total / 128 / Self.stretches * Self.stretches)))
        return unsafe sample.withUnsafeMutableBytes { sample in
            unsafe gather(source, into: UnsafeMutableRawBufferPointer(rebasing: sample[..<size]))
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
    private func gather(_ source: PieceList, into sample: UnsafeMutableRawBufferPointer) {
        guard sample.count < source.count else { return unsafe source.copy(from: 0, into: sample) }
        let length = sample.count / Self.stretches
        for stretch in 0..<Self.stretches {
            let place = unsafe UnsafeMutableRawBufferPointer(
                rebasing: sample[stretch * length..<(stretch + 1) * length])
            unsafe source.copy(from: (source.count - length) / (Self.stretches - 1) * stretch, into: place)
        }
    }
}
