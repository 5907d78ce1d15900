internal import Kubernetes

/// Looks at a cluster whenever something changes there, until a look is content or its time is over.
struct RepeatedLook: Sendable {
    /// What is followed.
    var watches: [ObjectWatch]

    /// Seconds after which it is looked again, whatever the server told meanwhile.
    var againSeconds = 5.0
    /// Seconds between two looks at least: what changes one by one is looked at together.
    var restSeconds = 0.2

    init(_ watches: [ObjectWatch]) { self.watches = watches }

    /// Looks until `look` is content; false when it was not by `end`, after a last look then. Throws what a look throws.
    func lasts(
        until end: ContinuousClock.Instant, _ look: @escaping () async throws -> Bool
    ) async throws -> Bool {
        let (changes, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let clock = ContinuousClock()
        return try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            for watch in watches { group.addTask { await Self.follow(watch, signal) } }
            group.addTask {
                while !Task.isCancelled {
                    try await Task.sleep(for: .seconds(againSeconds))
                    signal.yield()
                }
            }
            // The end of the time is awaited as another change is.
            group.addTask {
                try await Task.sleep(until: end, clock: clock)
                signal.yield()
            }
            var iterator = changes.makeAsyncIterator()
            while true {
                let isLast = clock.now >= end
                if try await look() { return true }
                if isLast { return false }
                try await Task.sleep(for: .seconds(restSeconds))
                _ = await iterator.next()
                try Task.checkCancellation()
            }
        }
    }

    /// Tells of every event; a watch that cannot go on is made up for by looking again.
    private static func follow(_ watch: ObjectWatch, _ signal: AsyncStream<Void>.Continuation) async {
        do {
            for try await _ in watch { signal.yield() }
        } catch {
            signal.yield()
        }
    }
}
