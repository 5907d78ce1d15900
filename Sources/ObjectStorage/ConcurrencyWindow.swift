/// How many requests may be under way, found by trying: one more after each window of successes, half as many when the
/// store asks to go slower (AIMD, as TCP does). A value type without time or threads.
struct ConcurrencyWindow: Sendable {
    /// Bounds of the window.
    let bounds: ClosedRange<Int>
    /// Requests that may be under way now.
    private(set) var limit: Int
    /// Requests under way.
    private(set) var inFlight = 0
    private var successes = 0
    /// Changes with each slow-down, so that the refusals of one crowd count once.
    private var epoch = 0

    /// What a request that has begun gives back at its end.
    struct Permit: Sendable {
        fileprivate let epoch: Int
    }

    /// What a request's end says of the store.
    enum Outcome: Sendable {
        case success
        case slowDown
        /// An error that has nothing to do with how many requests there are.
        case neutral
    }

    /// A window that begins at `initial`.
    init(bounds: ClosedRange<Int>, initial: Int) {
        precondition(bounds.lowerBound >= 1)
        self.bounds = bounds
        limit = min(max(initial, bounds.lowerBound), bounds.upperBound)
    }

    /// A permit for one more request, or nil when there are enough.
    mutating func begin() -> Permit? {
        guard inFlight < limit else { return nil }
        inFlight += 1
        return Permit(epoch: epoch)
    }

    /// Takes the permit of a request back.
    mutating func end(_ permit: Permit, _ outcome: Outcome) {
        inFlight -= 1
        switch outcome {
        case .neutral: break
        case .success:
            guard limit < bounds.upperBound else { return }
            successes += 1
            if successes >= limit {
                successes = 0
                limit += 1
            }
        case .slowDown:
            guard permit.epoch == epoch else { return }
            epoch += 1
            successes = 0
            limit = max(bounds.lowerBound, limit / 2)
        }
    }
}
