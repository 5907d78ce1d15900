/// Attempts an operation of a store until it succeeds, fails for good, or the policy ends it.
///
/// Only errors whose code `isTemporary` are retried; the last one is thrown with the number of attempts in its message.
/// Nothing starts, and no wait goes on, once the task is cancelled.
package struct Retrier: Sendable {
    /// A failure that will be retried.
    package struct Notice: Sendable {
        /// What failed.
        package let error: ObjectStorageError
        /// Attempts made so far.
        package let attempts: Int
        /// Seconds until the next one.
        package let delaySeconds: Double
    }

    private let policy: RetryPolicy
    private let timing: Timing
    private let onRetry: (@Sendable (Notice) -> Void)?

    /// A retrier; `onRetry` is told before each wait, on the caller's task.
    package init(
        policy: RetryPolicy, timing: Timing = .system, onRetry: (@Sendable (Notice) -> Void)? = nil
    ) {
        self.policy = policy
        self.timing = timing
        self.onRetry = onRetry
    }

    /// Runs `operation`; `action` ("store"), `key` and `location` are for messages. It is told whether an earlier attempt
    /// may have taken effect. Throws what the last attempt threw, or `.cancelled`.
    package func run<R>(
        _ action: String, _ key: String, in location: String,
        _ operation: (_ mayBeDone: Bool) async throws(ObjectStorageError) -> R
    ) async throws(ObjectStorageError) -> R {
        try await run(RequestContext(action: action, key: key, location: location), operation)
    }

    func run<R>(
        _ request: RequestContext, _ operation: (_ mayBeDone: Bool) async throws(ObjectStorageError) -> R
    ) async throws(ObjectStorageError) -> R {
        let start = timing.now()
        var attempts = 0
        var mayBeDone = false
        while true {
            if Task.isCancelled { throw request.cancelled(isAmbiguous: mayBeDone) }
            attempts += 1
            var failure: ObjectStorageError
            do throws(ObjectStorageError) {
                return try await operation(mayBeDone)
            } catch {
                failure = error
            }
            // A lost answer and a failure inside the store both leave open what happened.
            mayBeDone = mayBeDone || failure.isAmbiguous || failure.code == .timedOut || failure.code == .unavailable
            failure.isAmbiguous = failure.isAmbiguous || (mayBeDone && failure.code.isTemporary)
            guard failure.code.isTemporary else { throw failure }
            let delay = policy.delay(
                afterAttempt: attempts, chance: timing.random(), retryAfter: failure.retryAfterSeconds)
            guard attempts < policy.maximumAttempts, timing.now() - start + delay <= policy.totalSeconds else {
                throw exhausted(failure, attempts: attempts, seconds: timing.now() - start)
            }
            onRetry?(Notice(error: failure, attempts: attempts, delaySeconds: delay))
            do throws(CancellationError) { try await timing.sleep(delay) } catch {
                throw request.cancelled(isAmbiguous: mayBeDone)
            }
        }
    }

    private func exhausted(_ failure: ObjectStorageError, attempts: Int, seconds: Double) -> ObjectStorageError {
        guard attempts > 1 else { return failure }
        var failure = failure
        failure.message += " (the last of \(attempts) attempts in \(Int(seconds.rounded())) s)"
        return failure
    }
}
