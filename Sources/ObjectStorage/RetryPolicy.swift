/// How often and how long to try again.
package struct RetryPolicy: Hashable, Sendable {
    /// Attempts in all, the first included.
    package var maximumAttempts: Int
    /// No attempt begins, and no wait would end, later than so many seconds after the first attempt began.
    package var totalSeconds: Double
    /// The wait before the second attempt is up to so many seconds; each further one up to twice the one before.
    package var baseSeconds: Double
    /// Seconds that a wait lasts at most, unless the store asks for more.
    package var maximumDelaySeconds: Double

    package init(maximumAttempts: Int, totalSeconds: Double, baseSeconds: Double, maximumDelaySeconds: Double) {
        precondition(maximumAttempts >= 1 && totalSeconds >= 0 && baseSeconds >= 0 && maximumDelaySeconds >= 0)
        self.maximumAttempts = maximumAttempts
        self.totalSeconds = totalSeconds
        self.baseSeconds = baseSeconds
        self.maximumDelaySeconds = maximumDelaySeconds
    }

    /// For data on its way, where hours of work are at stake: outlives a quarter of an hour without a network. Waits
    /// grow to 30 s within eight attempts and are half of that on average: 60 attempts fill the time.
    package static let patient = RetryPolicy(
        maximumAttempts: 60, totalSeconds: 900, baseSeconds: 0.25, maximumDelaySeconds: 30)
    /// For the first contact, where a wrong address should be told soon.
    package static let brief = RetryPolicy(
        maximumAttempts: 4, totalSeconds: 15, baseSeconds: 0.25, maximumDelaySeconds: 5)

    /// Seconds to wait before attempt number `attempt + 1`: exponential with full jitter (Brooker, "Exponential Backoff
    /// And Jitter", AWS 2015), and not less than the store asked for.
    package func delay(afterAttempt attempt: Int, chance: Double, retryAfter: Double?) -> Double {
        var ceiling = baseSeconds
        for _ in 1..<max(attempt, 1) where ceiling < maximumDelaySeconds { ceiling *= 2 }
        return max(min(ceiling, maximumDelaySeconds) * chance, retryAfter ?? 0)
    }
}
