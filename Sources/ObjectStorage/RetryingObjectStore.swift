package import Basics

/// Tries again what failed for a reason that may pass.
///
/// - Only errors whose code `isTemporary` are retried; the last one is thrown when the policy's bounds are reached, with
///   the number of attempts in its message.
/// - Nothing starts, and no wait goes on, once the task is cancelled.
/// - A conditional `put` whose answer was lost may have succeeded, and its repetition is then refused. In that case the
///   stored object is compared with the body, and equal bytes count as success. So two writers that create the same name
///   with the same bytes may both succeed: bodies that claim something carry a random number.
/// - A `delete` by tag whose answer was lost succeeds if the object is gone.
package struct RetryingObjectStore: ForwardingObjectStore {
    /// A failure that will be retried.
    package typealias Notice = Retrier.Notice

    /// Bytes read at a time when the stored object is compared.
    private static let comparisonBytes = 4 << 20

    package let base: any ObjectStore
    private let retrier: Retrier

    /// A store that retries what `base` fails to do. `onRetry` is told before each wait, on the caller's task.
    package init(
        _ base: any ObjectStore, policy: RetryPolicy = .patient, timing: Timing = .system,
        onRetry: (@Sendable (Notice) -> Void)? = nil
    ) {
        self.base = base
        retrier = Retrier(policy: policy, timing: timing, onRetry: onRetry)
    }

    package func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        let request = RequestContext(action: "store", key: key, location: location)
        return try await retrier.run(request) { (mayBeDone) throws(ObjectStorageError) in
            do throws(ObjectStorageError) {
                return try await base.put(key, body, options: options)
            } catch {
                let wasRefused = error.code == .preconditionFailed || error.code == .notFound
                guard mayBeDone, wasRefused, options.condition != .none else { throw error }
                return try await receiptIfOurs(key, body, refusal: error)
            }
        }
    }

    package func get(
        _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> ObjectAttributes {
        let request = RequestContext(action: "read", key: key, location: location)
        return try await retrier.run(request) { (_) throws(ObjectStorageError) in
            try await base.get(key, range: range, into: buffer, maximumBytes: maximumBytes)
        }
    }

    package func head(_ key: String) async throws(ObjectStorageError) -> ObjectAttributes {
        let request = RequestContext(action: "look up", key: key, location: location)
        return try await retrier.run(request) { (_) throws(ObjectStorageError) in try await base.head(key) }
    }

    package func list(prefix: String, token: String?) async throws(ObjectStorageError) -> ObjectPage {
        let request = RequestContext(action: "list", key: prefix, location: location)
        return try await retrier.run(request) { (_) throws(ObjectStorageError) in
            try await base.list(prefix: prefix, token: token)
        }
    }

    package func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError) {
        let request = RequestContext(action: "delete", key: key, location: location)
        try await retrier.run(request) { (mayBeDone) throws(ObjectStorageError) in
            do throws(ObjectStorageError) {
                try await base.delete(key, ifTag: ifTag)
            } catch {
                let wasRefused = error.code == .preconditionFailed || error.code == .notFound
                guard mayBeDone, wasRefused, ifTag != nil else { throw error }
                do throws(ObjectStorageError) { _ = try await head(key) } catch let other {
                    if other.code == .notFound { return }
                    if other.code == .cancelled { throw other }
                }
                throw error
            }
        }
    }

    package func extendRetention(_ key: String, _ retention: Retention) async throws(ObjectStorageError) {
        let request = RequestContext(action: "extend the retention of", key: key, location: location)
        try await retrier.run(request) { (_) throws(ObjectStorageError) in
            try await base.extendRetention(key, retention)
        }
    }

    package func serverTime() async throws(ObjectStorageError) -> Timestamp {
        let request = RequestContext(action: "ask for the time of", key: "", location: location)
        return try await retrier.run(request) { (_) throws(ObjectStorageError) in try await base.serverTime() }
    }

    /// The receipt of an earlier attempt, if what is stored are the body's bytes; throws `refusal` otherwise.
    private func receiptIfOurs(
        _ key: String, _ body: ObjectBody, refusal: ObjectStorageError
    ) async throws(ObjectStorageError) -> PutReceipt {
        do throws(ObjectStorageError) {
            let stored = try await head(key)
            guard stored.size == UInt64(body.count), try await holds(stored, body) else { throw refusal }
            if let date = stored.date { return PutReceipt(tag: stored.tag, date: date) }
            return PutReceipt(tag: stored.tag, date: try await serverTime())
        } catch {
            if error.code == .cancelled || error.code == .preconditionFailed { throw error }
            if error.code == .notFound { throw refusal }
            var unknown = refusal
            unknown.isAmbiguous = true
            unknown.message += "; whether an earlier attempt stored it cannot be told: \(error.message)"
            throw unknown
        }
    }

    /// Whether the stored object has the body's bytes; their sizes are equal.
    private func holds(_ stored: ObjectAttributes, _ body: ObjectBody) async throws(ObjectStorageError) -> Bool {
        let buffer = Buffer(capacity: min(body.count, Self.comparisonBytes))
        var offset = 0
        for piece in body.pieces {
            var start = 0
            while start < piece.count {
                let count = min(piece.count - start, Self.comparisonBytes)
                let range = UInt64(offset)..<UInt64(offset + count)
                let found = try await get(stored.key, range: range, into: buffer, maximumBytes: count)
                guard found.tag == stored.tag, buffer.count == count else { return false }
                let expected = UnsafeRawBufferPointer(rebasing: piece.bytes[start..<start + count])
                guard expected.elementsEqual(buffer.bytes) else { return false }
                start += count
                offset += count
            }
        }
        return true
    }
}
