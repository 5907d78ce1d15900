internal import Compression
package import RepositoryFormat

/// Chunks that are alike: those of one tensor, or of one file whose layout is not known. What samples said of one is
/// remembered for the others. Shared by all threads that store them.
package final class ChunkFamily: Sendable {
    let verdict: TensorVerdict

    /// Chunks of numbers of `elementWidth` bytes (1, 2, 4 or 8), one after another; of any other width, or nil, nothing
    /// is known and each chunk may tell.
    package init(elementWidth: Int?, isFloatingPoint: Bool) {
        verdict = TensorVerdict(
            elements: elementWidth.flatMap { ElementLayout(width: $0, isFloatingPoint: isFloatingPoint) })
    }
}

/// What is known of a chunk's content, so that it can be stored in less.
package struct ChunkTraits: Sendable {
    package var family: ChunkFamily
    /// Bytes from the start of the tensor, or of the file, to the chunk.
    package var offset: Int
    /// A chunk of the same length that this one may resemble: the same tensor's in an earlier snapshot.
    package var base: ChunkID?

    package init(family: ChunkFamily, offset: Int, base: ChunkID? = nil) {
        self.family = family
        self.offset = offset
        self.base = base
    }
}
