internal import Synchronization

/// Lets so many tasks through at once; the others wait, the oldest first. What each of them takes of the memory is thus
/// bounded, however many calls there are.
package final class Turnstile: Sendable {
    private struct State {
        var free: Int
        var arrivals: UInt64 = 0
        /// By arrival.
        var waiting: [UInt64: CheckedContinuation<Bool, Never>] = [:]
    }

    private let state: Mutex<State>

    package init(places: Int) {
        precondition(places > 0)
        state = Mutex(State(free: places))
    }

    /// Runs `body` when there is a place. Throws `CancellationError` when the task is cancelled before.
    package func pass<R>(_ body: () async throws -> R) async throws -> R {
        guard await enter() else { throw CancellationError() }
        defer { leave() }
        return try await body()
    }

    private func enter() async -> Bool {
        let number = state.withLock { state in
            state.arrivals += 1
            return state.arrivals
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer = state.withLock { state -> Bool? in
                    if Task.isCancelled { return false }
                    if state.free > 0 {
                        state.free -= 1
                        return true
                    }
                    state.waiting[number] = continuation
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: number) }?.resume(returning: false)
        }
    }

    private func leave() {
        let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard let oldest = state.waiting.keys.min() else {
                state.free += 1
                return nil
            }
            return state.waiting.removeValue(forKey: oldest)
        }
        next?.resume(returning: true)
    }
}
