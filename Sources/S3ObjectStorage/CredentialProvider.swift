package import Basics
package import Logging
package import ObjectStorage
internal import Synchronization

/// Gives out credentials that are good now.
package protocol CredentialProvider: Sendable {
    /// Where they come from.
    var source: CredentialSource { get }

    /// Credentials that last for minutes at least. Throws `.expiredCredentials` when there are none to be had, or the
    /// code of what hindered the request for them.
    func credentials() async throws(ObjectStorageError) -> AWSCredentials

    /// Says that the server took `credentials` for expired, so that the next call fetches new ones. Answers whether
    /// that can help.
    func invalidate(_ credentials: AWSCredentials) -> Bool
}

/// Keys that do not change.
package struct StaticCredentials: CredentialProvider {
    package let source: CredentialSource
    private let value: AWSCredentials

    /// Always `credentials`.
    package init(_ credentials: AWSCredentials, source: CredentialSource = .explicit) {
        value = credentials
        self.source = source
    }

    package func credentials() async throws(ObjectStorageError) -> AWSCredentials { value }

    package func invalidate(_ credentials: AWSCredentials) -> Bool { false }
}

/// Credentials that are fetched when they are needed, kept, and fetched again five minutes or so before they end.
///
/// Any number of tasks may ask at once; one of them fetches and the others wait for it.
package final class RefreshingCredentials: CredentialProvider {
    /// Fetches new credentials.
    package typealias Fetch = @Sendable () async throws(ObjectStorageError) -> AWSCredentials

    /// Seconds before their end from which credentials are renewed.
    static let margin = 300.0
    /// Up to so many seconds more, drawn anew for each set: a thousand pods started at once do not ask at once.
    static let jitter = 60.0
    /// Seconds after a failed renewal in which the old credentials, if still good, are used without another try.
    static let pause = 30.0

    private struct State {
        var current: AWSCredentials?
        var renewAt: Timestamp?
        var isFetching = false
        var waiters: [CheckedContinuation<Void, Never>] = []
        var lastFailure: ObjectStorageError?
        /// Counts failed fetches, so that a waiter knows that the one it waited for failed.
        var failures = 0
    }

    private enum Decision {
        case use(AWSCredentials)
        case fetch
        case wait(failuresSoFar: Int)
    }

    package let source: CredentialSource
    private let fetch: Fetch
    private let clock: any WallClock
    private let random: @Sendable () -> Double
    private let logger: Logger
    private let state = Mutex(State())

    /// Credentials from `fetch`. `random` answers numbers from 0 to 1.
    package init(
        source: CredentialSource, clock: any WallClock = SystemWallClock(),
        random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) },
        logger: Logger = Logger(label: "s3"), fetch: @escaping Fetch
    ) {
        self.source = source
        self.clock = clock
        self.random = random
        self.logger = logger
        self.fetch = fetch
    }

    package func credentials() async throws(ObjectStorageError) -> AWSCredentials {
        while true {
            if Task.isCancelled { throw ObjectStorageError(.cancelled, "fetching credentials was cancelled") }
            switch decide() {
            case .use(let credentials): return credentials
            case .fetch: return try await fetchNow()
            case .wait(let failures):
                await waitForFetch()
                let failure = state.withLock { $0.failures != failures ? $0.lastFailure : nil }
                if let failure { throw failure }
            }
        }
    }

    package func invalidate(_ credentials: AWSCredentials) -> Bool {
        state.withLock { state in
            if state.current?.accessKeyID == credentials.accessKeyID { state.current = nil }
        }
        return true
    }

    private func decide() -> Decision {
        let now = clock.now()
        return state.withLock { state in
            if let current = state.current {
                guard let renewAt = state.renewAt, now >= renewAt else { return .use(current) }
                // While one renews, the others go on with what is still good.
                if state.isFetching, let end = current.expiration, now < end { return .use(current) }
            }
            if state.isFetching { return .wait(failuresSoFar: state.failures) }
            state.isFetching = true
            return .fetch
        }
    }

    private func waitForFetch() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                if state.isFetching { state.waiters.append(continuation) }
                return !state.isFetching
            }
            if isOver { continuation.resume() }
        }
    }

    private func fetchNow() async throws(ObjectStorageError) -> AWSCredentials {
        let result: Result<AWSCredentials, ObjectStorageError>
        do throws(ObjectStorageError) {
            result = .success(try await fetch())
        } catch {
            result = .failure(error)
        }
        let now = clock.now()
        let (outcome, waiters) = state.withLock { state in
            let outcome = settle(result, now, &state)
            let waiters = state.waiters
            state.waiters = []
            state.isFetching = false
            return (outcome, waiters)
        }
        for waiter in waiters { waiter.resume() }
        return try outcome.get()
    }

    private func settle(
        _ result: Result<AWSCredentials, ObjectStorageError>, _ now: Timestamp, _ state: inout State
    ) -> Result<AWSCredentials, ObjectStorageError> {
        switch result {
        case .success(let credentials):
            state.current = credentials
            state.lastFailure = nil
            state.renewAt = credentials.expiration.map { end in
                // Credentials that last less than ten minutes are renewed at half time.
                let early = min(Self.margin + random() * Self.jitter, max(0, end - now) / 2)
                return end.advanced(bySeconds: -early)
            }
            logger.debug("fetched credentials", metadata: ["source": "\(source)"])
            return result
        case .failure(let error):
            if let current = state.current, let end = current.expiration, now < end, error.code != .cancelled {
                state.renewAt = min(end, now.advanced(bySeconds: Self.pause))
                logger.warning("cannot renew credentials yet", metadata: ["source": "\(source)", "error": "\(error)"])
                return .success(current)
            }
            // A fetch that was cancelled says nothing to the others: one of them fetches next.
            if error.code != .cancelled {
                state.failures += 1
                state.lastFailure = error
            }
            return result
        }
    }
}
