internal import Compression
package import RepositoryFormat
internal import Synchronization

/// Chunks that are alike: those of one tensor, or of one file whose layout is not known. What samples said of one is
/// remembered for the others. Shared by all threads that store them.
package final class ChunkFamily: Sendable {
    let verdict: TensorVerdict
    private let bases: BaseTally?

    /// Chunks of numbers of `elementWidth` bytes (1, 2, 4 or 8), one after another; of any other width, or nil, nothing
    /// is known and each chunk may tell.
    /// - Parameter bases: what is remembered of the use of bases, for families that belong together.
    package init(elementWidth: Int?, isFloatingPoint: Bool, bases: BaseTally? = nil) {
        self.bases = bases
        verdict = TensorVerdict(
            elements: elementWidth.flatMap { ElementLayout(width: $0, isFloatingPoint: isFloatingPoint) })
    }
}

extension ChunkFamily {
    /// Whether a base is worth reading for one more chunk.
    func takesBase() -> Bool { verdict.takesBase() && bases?.takesBase() ?? true }

    /// Notes whether a base that was read was of use.
    func noteBase(isUsed: Bool) { bases?.note(isUsed: isUsed) }
}

/// Whether the chunks of a file's many tensors had any use for bases so far: a model that has changed all over would
/// otherwise have the whole of its last state read for nothing, one chunk for each tensor. Any thread may use it.
package final class BaseTally: Sendable {
    /// After so many in a row that were of no use, one chunk in `spacing` is tried.
    private static let patience = 6
    private static let spacing = 32

    private struct State {
        var useless = 0
        var passedOver = 0
    }

    private let state = Mutex(State())

    package init() {}

    func takesBase() -> Bool {
        state.withLock { state in
            guard state.useless >= Self.patience else { return true }
            state.passedOver += 1
            return state.passedOver % Self.spacing == 0
        }
    }

    func note(isUsed: Bool) {
        state.withLock { state in state.useless = isUsed ? 0 : state.useless + 1 }
    }
}

/// What is known of a chunk's content, so that it can be stored in less.
package struct ChunkTraits: Sendable {
    package var family: ChunkFamily
    /// Bytes from the start of the tensor, or of the file, to the chunk.
    package var offset: Int
    /// A chunk of the same length that this one may resemble: the same tensor's in an earlier snapshot.
    package var base: ChunkID?
    /// As many bytes on this machine that this one may resemble, and that the repository may have; asked before `base`, in
    /// this order, for they cost less to read.
    package var locals: [any LocalBase]

    package init(family: ChunkFamily, offset: Int, base: ChunkID? = nil, locals: [any LocalBase] = []) {
        self.family = family
        self.offset = offset
        self.base = base
        self.locals = locals
    }
}
