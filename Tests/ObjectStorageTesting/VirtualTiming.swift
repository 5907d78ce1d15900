package import ObjectStorage
internal import Synchronization

/// Time that passes only when somebody sleeps, and then at once.
package final class VirtualTiming: Sendable {
    private struct State {
        var now = 1000.0
        var sleeps: [Double] = []
        var generator: SeededGenerator
        var onSleep: (@Sendable (Double) -> Void)?
    }

    private let state: Mutex<State>
    private let chance: Double?

    /// Time from 1000 s on; `chance` is what every draw gives, nil draws from `seed`.
    package init(chance: Double? = nil, seed: UInt64 = 1) {
        self.chance = chance
        state = Mutex(State(generator: SeededGenerator(seed: seed)))
    }

    /// Seconds slept, call by call.
    package var sleeps: [Double] { state.withLock { $0.sleeps } }

    /// Lets time pass.
    package func advance(bySeconds seconds: Double) { state.withLock { $0.now += seconds } }

    /// Calls `body` with the seconds at each sleep, before it counts.
    package func onSleep(_ body: @escaping @Sendable (Double) -> Void) { state.withLock { $0.onSleep = body } }

    /// This time, as stores take it.
    package var timing: Timing {
        Timing(
            now: { self.state.withLock { $0.now } },
            sleep: { (seconds) throws(CancellationError) in
                self.state.withLock { $0.onSleep }?(seconds)
                if Task.isCancelled { throw CancellationError() }
                self.state.withLock { state in
                    state.sleeps.append(seconds)
                    state.now += seconds
                }
            },
            random: { self.chance ?? self.state.withLock { Double.random(in: 0..<1, using: &$0.generator) } })
    }
}
