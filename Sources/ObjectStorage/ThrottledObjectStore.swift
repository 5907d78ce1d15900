package import Basics
internal import Synchronization

/// Bounds how many requests are under way, learning from the store how many it takes, and how many bytes a second go up
/// and down.
///
/// Put it beneath the retrying store: a refused request gives its place back while it waits. Requests begin in the order
/// in which they came. A cancelled task leaves the queue at once and throws `.cancelled`.
package final class ThrottledObjectStore: ForwardingObjectStore {
    /// The bounds.
    package struct Limits: Hashable, Sendable {
        /// Requests at once, least and most. Sixteen packs of 64 MiB on their way are a GiB; more connections than that
        /// seldom make a store faster.
        package var requests: ClosedRange<Int>
        /// Requests at once to begin with.
        package var initialRequests: Int
        /// Bytes of bodies a second that are put; nil is no bound. It holds on average over whole requests, which
        /// themselves go as fast as the line.
        package var uploadBytesPerSecond: Int?
        /// As `uploadBytesPerSecond`, for what is got.
        package var downloadBytesPerSecond: Int?

        package init(
            requests: ClosedRange<Int> = 1...64, initialRequests: Int = 16, uploadBytesPerSecond: Int? = nil,
            downloadBytesPerSecond: Int? = nil
        ) {
            self.requests = requests
            self.initialRequests = initialRequests
            self.uploadBytesPerSecond = uploadBytesPerSecond
            self.downloadBytesPerSecond = downloadBytesPerSecond
        }
    }

    private struct State {
        var window: ConcurrencyWindow
        /// Tasks that wait, by the number of their arrival.
        var waiters: [UInt64: CheckedContinuation<ConcurrencyWindow.Permit?, Never>] = [:]
        var arrivals: UInt64 = 0
        /// Nobody with a lower number waits.
        var oldest: UInt64 = 0
    }

    package let base: any ObjectStore
    private let state: Mutex<State>
    private let upload: ByteRate?
    private let download: ByteRate?

    /// A store that keeps `limits` towards `base`.
    package init(_ base: any ObjectStore, limits: Limits = Limits(), timing: Timing = .system) {
        self.base = base
        state = Mutex(State(window: ConcurrencyWindow(bounds: limits.requests, initial: limits.initialRequests)))
        upload = limits.uploadBytesPerSecond.map { ByteRate(bytesPerSecond: $0, timing: timing) }
        download = limits.downloadBytesPerSecond.map { ByteRate(bytesPerSecond: $0, timing: timing) }
    }

    /// Requests that may be under way at the moment.
    package var currentLimit: Int { state.withLock { $0.window.limit } }
    /// Requests that wait for a place at the moment.
    package var waiting: Int { state.withLock { $0.waiters.count } }

    package func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        let request = RequestContext(action: "store", key: key, location: location)
        if let upload {
            do throws(CancellationError) { try await upload.wait(thenBook: body.count) } catch {
                throw request.cancelled()
            }
        }
        return try await admitted(request) { () throws(ObjectStorageError) in
            try await base.put(key, body, options: options)
        }
    }

    package func get(
        _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> ObjectAttributes {
        let request = RequestContext(action: "read", key: key, location: location)
        // What will come is known for a range only; the difference is settled afterwards.
        let expected =
            range.map { Int(clamping: min($0.upperBound - $0.lowerBound, UInt64(max(0, maximumBytes)))) } ?? 0
        if let download {
            do throws(CancellationError) { try await download.wait(thenBook: expected) } catch {
                throw request.cancelled()
            }
        }
        do throws(ObjectStorageError) {
            let attributes = try await admitted(request) { () throws(ObjectStorageError) in
                try await base.get(key, range: range, into: buffer, maximumBytes: maximumBytes)
            }
            download?.book(buffer.count - expected)
            return attributes
        } catch {
            download?.book(-expected)
            throw error
        }
    }

    package func head(_ key: String) async throws(ObjectStorageError) -> ObjectAttributes {
        let request = RequestContext(action: "look up", key: key, location: location)
        return try await admitted(request) { () throws(ObjectStorageError) in try await base.head(key) }
    }

    package func list(prefix: String, token: String?) async throws(ObjectStorageError) -> ObjectPage {
        let request = RequestContext(action: "list", key: prefix, location: location)
        return try await admitted(request) { () throws(ObjectStorageError) in
            try await base.list(prefix: prefix, token: token)
        }
    }

    package func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError) {
        let request = RequestContext(action: "delete", key: key, location: location)
        try await admitted(request) { () throws(ObjectStorageError) in try await base.delete(key, ifTag: ifTag) }
    }

    package func extendRetention(_ key: String, _ retention: Retention) async throws(ObjectStorageError) {
        let request = RequestContext(action: "extend the retention of", key: key, location: location)
        try await admitted(request) { () throws(ObjectStorageError) in try await base.extendRetention(key, retention) }
    }

    package func serverTime() async throws(ObjectStorageError) -> Timestamp {
        let request = RequestContext(action: "ask for the time of", key: "", location: location)
        return try await admitted(request) { () throws(ObjectStorageError) in try await base.serverTime() }
    }

    private func admitted<R>(
        _ request: RequestContext, _ body: () async throws(ObjectStorageError) -> R
    ) async throws(ObjectStorageError) -> R {
        guard let permit = await enter() else { throw request.cancelled() }
        do throws(ObjectStorageError) {
            let result = try await body()
            leave(permit, .success)
            return result
        } catch {
            switch error.code {
            case .throttled, .unavailable: leave(permit, .slowDown)
            // The store answered, and did its part.
            case .notFound, .preconditionFailed, .conflict, .locked, .tooLarge: leave(permit, .success)
            default: leave(permit, .neutral)
            }
            throw error
        }
    }

    /// A place among the requests under way; nil when the task is cancelled first.
    private func enter() async -> ConcurrencyWindow.Permit? {
        if Task.isCancelled { return nil }
        let (direct, number) = state.withLock { state in
            // Nobody overtakes: a free place goes to those who wait.
            if state.waiters.isEmpty, let permit = state.window.begin() {
                return (permit as ConcurrencyWindow.Permit?, 0 as UInt64)
            }
            state.arrivals += 1
            return (nil, state.arrivals)
        }
        if let direct { return direct }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let permit = state.withLock { state -> ConcurrencyWindow.Permit?? in
                    if Task.isCancelled { return .some(nil) }
                    // A place may have come free since the first look, with nobody there to take it.
                    if state.waiters.isEmpty, let permit = state.window.begin() { return .some(permit) }
                    state.waiters[number] = continuation
                    state.oldest = min(state.oldest, number)
                    return nil
                }
                if let permit { continuation.resume(returning: permit) }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: number) }?.resume(returning: nil)
        }
    }

    private func leave(_ permit: ConcurrencyWindow.Permit, _ outcome: ConcurrencyWindow.Outcome) {
        let next = state.withLock { state in
            state.window.end(permit, outcome)
            return Self.admit(&state)
        }
        for (continuation, permit) in next { continuation.resume(returning: permit) }
    }

    /// Takes those who may begin now out of the queue, the oldest first.
    private static func admit(
        _ state: inout State
    ) -> [(CheckedContinuation<ConcurrencyWindow.Permit?, Never>, ConcurrencyWindow.Permit)] {
        var admitted: [(CheckedContinuation<ConcurrencyWindow.Permit?, Never>, ConcurrencyWindow.Permit)] = []
        while !state.waiters.isEmpty, let permit = state.window.begin() {
            while state.waiters[state.oldest] == nil { state.oldest += 1 }
            if let continuation = state.waiters.removeValue(forKey: state.oldest) {
                admitted.append((continuation, permit))
            }
        }
        return admitted
    }
}
