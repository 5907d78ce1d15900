/// Waiting, as a parameter: monotonic time, sleep and chance, so that tests wait for nothing.
package struct Timing: Sendable {
    /// Seconds since some fixed moment; never goes back.
    package var now: @Sendable () -> Double
    /// Suspends for so many seconds; throws when the task is cancelled.
    package var sleep: @Sendable (Double) async throws(CancellationError) -> Void
    /// A random number from 0 up to, not including, 1.
    package var random: @Sendable () -> Double

    package init(
        now: @escaping @Sendable () -> Double,
        sleep: @escaping @Sendable (Double) async throws(CancellationError) -> Void,
        random: @escaping @Sendable () -> Double
    ) {
        self.now = now
        self.sleep = sleep
        self.random = random
    }

    /// The machine's monotonic clock and generator.
    package static let system: Timing = {
        let start = ContinuousClock.now
        return Timing(
            now: { (ContinuousClock.now - start) / .seconds(1) },
            sleep: { (seconds) throws(CancellationError) in
                do { try await Task.sleep(for: .seconds(seconds)) } catch { throw CancellationError() }
            },
            random: { Double.random(in: 0..<1) })
    }()
}
