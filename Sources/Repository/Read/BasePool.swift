internal import Basics
internal import RepositoryFormat

/// The memory for chunks that others are stored as the difference to, shared by all threads of an operation: so many at
/// once as `MemoryPlan.bases` says; whoever needs one more waits.
///
/// Not for the cooperative pool: taking one blocks. Whoever holds one must wait for nobody who may want one. `@unchecked
/// Sendable` rests on the stack's lock, which hands a reader from one thread to the next.
final class BasePool: @unchecked Sendable {
    private struct State {
        var idle: [BaseReader] = []
        var made = 0
    }

    private let limit: Int
    private let make: () -> BaseReader
    private let state = Monitor(State())

    /// A pool of at most `limit` readers; `make` may be called by any thread.
    init(limit: Int, make: @escaping @Sendable () -> BaseReader) {
        precondition(limit > 0)
        self.limit = limit
        self.make = make
    }

    /// Readers that find bases in `index`, as many as the repository's plan allows. See `BaseReader` for `rehash`.
    convenience init(repository: Repository, keys: SessionKeys, rehash: Bool, index: RepositoryIndex) {
        self.init(limit: repository.plan.bases) {
            BaseReader(repository: repository, keys: keys, rehash: rehash, index: index)
        }
    }

    /// Calls `body` with a reader that nobody else uses meanwhile; waits for one. What the reader answers is good during
    /// the call only.
    func withReader<R>(_ body: (BaseReader) throws -> R) rethrows -> R {
        let reader = state.wait { state -> BaseReader? in
            if let reader = state.idle.popLast() { return reader }
            guard state.made < limit else { return nil }
            state.made += 1
            return make()
        }
        defer { state.signal { $0.idle.append(reader) } }
        return try body(reader)
    }
}
