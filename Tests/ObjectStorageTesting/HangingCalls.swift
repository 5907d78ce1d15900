internal import Synchronization

/// Calls that wait for nothing but their cancellation, and tests that wait until they do.
final class HangingCalls: Sendable {
    private struct State {
        var begun = 0
        var nextID = 0
        var calls: [Int: CheckedContinuation<Void, Never>] = [:]
        var observers: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())

    /// Returns when the task is cancelled.
    func hang() async {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let observers = state.withLock { state in
                    state.calls[id] = continuation
                    state.begun += 1
                    let begun = state.begun
                    let ready = state.observers.filter { $0.count <= begun }
                    state.observers.removeAll { $0.count <= begun }
                    return ready
                }
                for observer in observers { observer.continuation.resume() }
                if Task.isCancelled { resume(id) }
            }
        } onCancel: {
            resume(id)
        }
    }

    /// Returns once so many calls have begun to hang.
    func wait(for count: Int) async {
        await withCheckedContinuation { continuation in
            let isReady = state.withLock { state in
                if state.begun >= count { return true }
                state.observers.append((count, continuation))
                return false
            }
            if isReady { continuation.resume() }
        }
    }

    private func resume(_ id: Int) {
        state.withLock { $0.calls.removeValue(forKey: id) }?.resume()
    }
}
