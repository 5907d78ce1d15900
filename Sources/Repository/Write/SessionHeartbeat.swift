internal import Basics
internal import Logging
internal import ObjectStorage
internal import RepositoryFormat
internal import Synchronization

/// An object under `sessions/` that a writer touches now and then, so that collectors leave its young packs alone.
///
/// Only a courtesy: no safety rests on it (Format.md, "Collection"). It also keeps the store's time, from the dates of
/// its answers and a monotonic clock.
final class SessionHeartbeat: Sendable {
    private struct State {
        var serverTime = Timestamp(nanoseconds: 0)
        var seenAt = ContinuousClock.now
        var beatenAt = ContinuousClock.now
        var isBeating = false
    }

    private let repository: Repository
    private let name: String
    private let interval: Duration
    private let state = Mutex(State())

    init(repository: Repository, sessionID: Identifier) {
        self.repository = repository
        name = ObjectNames.sessions + sessionID.description
        interval = .seconds(min(600, max(1, Double(repository.config.graceSeconds) / 8)))
    }

    func begin() async throws(ObjectStorageError) {
        let receipt = try await repository.store.put(name, bytes: [1])
        saw(receipt.date)
    }

    /// Notes the store's time as an answer told it.
    func saw(_ date: Timestamp) {
        state.withLock {
            $0.serverTime = date
            $0.seenAt = .now
        }
    }

    /// The store's time now, by its last answer and the time since.
    func serverTime() -> Timestamp {
        state.withLock { state in
            let elapsed = (ContinuousClock.now - state.seenAt).components
            return state.serverTime.advanced(bySeconds: Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18)
        }
    }

    /// Touches the object when it is time to. From threads of ours.
    func beatIfDue() throws(ObjectStorageError) {
        let isDue = state.withLock { state in
            guard !state.isBeating, ContinuousClock.now - state.beatenAt > interval else { return false }
            state.isBeating = true
            return true
        }
        guard isDue else { return }
        defer {
            state.withLock {
                $0.isBeating = false
                $0.beatenAt = .now
            }
        }
        let (store, name) = (repository.store, name)
        let receipt = try BlockingBridge.run { () async throws(ObjectStorageError) in
            try await store.put(name, bytes: [1])
        }
        saw(receipt.date)
    }

    /// Removes the object; a failure leaves it for the collector.
    func end() async {
        do {
            try await repository.store.delete(name, ifTag: nil)
        } catch {
            repository.options.logger.debug("session object \(name) stays for the collector: \(error)")
        }
    }
}
