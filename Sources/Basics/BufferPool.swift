internal import Synchronization

/// Buffers of one capacity, at most so many of them: whoever wants one more waits. The pool is the backpressure.
///
/// Any thread may take and give back. Not for the cooperative pool: `take` blocks.
package final class BufferPool: Sendable {
    private struct State {
        var idle: [Buffer] = []
        var made = 0
    }

    /// Bytes in each buffer.
    package let bufferCapacity: Int
    /// Buffers that may be out at once; the pool's memory is at most `bufferCapacity * limit`.
    package let limit: Int
    private let state = Monitor(State())

    /// An empty pool; memory is taken when it is first needed and kept until the pool goes.
    package init(bufferCapacity: Int, limit: Int) {
        precondition(limit > 0)
        self.bufferCapacity = bufferCapacity
        self.limit = limit
    }

    /// An empty buffer; waits while all are out.
    package func take() -> Buffer {
        state.wait { state in
            if let buffer = state.idle.popLast() { return buffer }
            guard state.made < limit else { return nil }
            state.made += 1
            return Buffer(capacity: bufferCapacity)
        }
    }

    /// An empty buffer, or nil when all are out.
    package func takeIfIdle() -> Buffer? {
        state.withLock { state in
            if let buffer = state.idle.popLast() { return buffer }
            guard state.made < limit else { return nil }
            state.made += 1
            return Buffer(capacity: bufferCapacity)
        }
    }

    /// Gives `buffer` back. The caller must not touch it again.
    package func give(_ buffer: Buffer) {
        buffer.count = 0
        state.signal { $0.idle.append(buffer) }
    }
}
