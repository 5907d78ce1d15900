internal import Synchronization

/// What a sample said of a tensor's chunks, so that not every chunk is sampled. One for each tensor, or for each file
/// whose layout is not known; shared by all threads that encode its chunks.
///
/// The first samples stand for one chunk, two, four and so on, as long as each says what the one before said, and at
/// last for `chunksPerTest`: a tensor need not be the same all over. What does not pay as promised is forgotten at once.
package final class TensorVerdict: Sendable {
    /// A tensor of 4 MiB chunks is sampled every 128 MiB at the least.
    package static let chunksPerTest = 32

    /// How the tensor's elements lie; nil when nobody knows, and each chunk may tell.
    package let elements: ElementLayout?

    /// What is known of the next chunk.
    enum Expectation: Equatable {
        case untested
        case plan(PlanePlan)
        case doesNotPay
    }

    private struct State {
        var expectation = Expectation.untested
        /// Chunks that the last sample stands for, and how many of them are to come.
        var interval = 1
        var chunksLeft = 0

        mutating func record(_ new: Expectation) {
            if new == expectation {
                interval = min(2 * interval, chunksPerTest - 1)
            } else if case .plan(let plan) = new, case .plan(let last) = expectation, plan.resembles(last) {
                interval = max(interval / 2, 1)
            } else {
                interval = 1
            }
            expectation = new
            chunksLeft = interval
        }

        mutating func next() -> Expectation {
            guard chunksLeft > 0 else { return .untested }
            chunksLeft -= 1
            return expectation
        }
    }

    private struct States {
        var alone = State()
        var withBase = State()
    }

    private let states = Mutex(States())

    /// Nothing is known yet but the layout, if that.
    package init(elements: ElementLayout?) {
        self.elements = elements
    }

    /// Whether a base is worth reading for one more chunk. Where the last samples had no use for one, this counts the
    /// chunk, so that the question is asked again; else `next(withBase:)` does.
    package func takesBase() -> Bool {
        states.withLock { states in
            guard states.withBase.chunksLeft > 0 else { return true }
            if case .plan(let plan) = states.withBase.expectation, plan.transform.usesBase { return true }
            states.withBase.chunksLeft -= 1
            return false
        }
    }

    /// What to expect of one more chunk, which is counted.
    func next(withBase: Bool) -> Expectation {
        states.withLock { states in withBase ? states.withBase.next() : states.alone.next() }
    }

    /// A sample says so; nil: it does not pay. Of a layout that is not known that is true of the chunk at hand only,
    /// for the next may hold something else.
    func record(_ plan: PlanePlan?, withBase: Bool) {
        let new: Expectation =
            if let plan { .plan(plan) } else if elements == nil { .untested } else { .doesNotPay }
        states.withLock { states in
            if withBase { states.withBase.record(new) } else { states.alone.record(new) }
        }
    }
}
