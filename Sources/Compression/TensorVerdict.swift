internal import Synchronization

/// What a sample said of a tensor's chunks, so that not every chunk is sampled. One for each tensor, or for each file
/// whose layout is not known; shared by all threads that encode its chunks.
///
/// It is forgotten after `chunksPerTest` chunks, or a few where that was a surprise, and as soon as a chunk does not pay
/// as promised.
package final class TensorVerdict: Sendable {
    /// A tensor of 4 MiB chunks is sampled every 128 MiB.
    package static let chunksPerTest = 32
    /// One chunk that does not pay among others that do says little of the next ones.
    package static let chunksPerDisappointment = 4

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
        var chunksLeft = 0

        mutating func record(_ plan: PlanePlan?, remembers: Bool) {
            let wasGood = if case .plan = expectation { true } else { false }
            expectation = plan.map { .plan($0) } ?? .doesNotPay
            let chunks = plan == nil && wasGood ? chunksPerDisappointment : chunksPerTest
            chunksLeft = remembers ? chunks - 1 : 0
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

    /// What to expect of one more chunk, which is counted.
    func next(withBase: Bool) -> Expectation {
        states.withLock { states in withBase ? states.withBase.next() : states.alone.next() }
    }

    /// A sample says so; nil: it does not pay. Of a layout that is not known that is true of the chunk at hand only,
    /// for the next may hold something else.
    func record(_ plan: PlanePlan?, withBase: Bool) {
        let remembers = plan != nil || elements != nil
        states.withLock { states in
            if withBase {
                states.withBase.record(plan, remembers: remembers)
            } else {
                states.alone.record(plan, remembers: remembers)
            }
        }
    }
}
