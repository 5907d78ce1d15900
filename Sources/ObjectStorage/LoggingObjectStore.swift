package import Basics
package import Logging

/// Tells each request and its outcome at level `debug`: operation, key, bytes, milliseconds.
///
/// Put it beneath the retrying store to see every attempt, above it to see what callers saw.
package struct LoggingObjectStore: ForwardingObjectStore {
    package let base: any ObjectStore
    private let logger: Logger
    private let timing: Timing

    /// A store that logs what `base` is asked.
    package init(_ base: any ObjectStore, logger: Logger, timing: Timing = .system) {
        self.base = base
        self.logger = logger
        self.timing = timing
    }

    package func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        try await logged("put", key, bytes: { _ in body.count }) { () throws(ObjectStorageError) in
            try await base.put(key, body, options: options)
        }
    }

    package func get(
        _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> ObjectAttributes {
        try await logged("get", key, bytes: { _ in buffer.count }) { () throws(ObjectStorageError) in
            try await base.get(key, range: range, into: buffer, maximumBytes: maximumBytes)
        }
    }

    package func head(_ key: String) async throws(ObjectStorageError) -> ObjectAttributes {
        try await logged("head", key) { () throws(ObjectStorageError) in try await base.head(key) }
    }

    package func list(prefix: String, token: String?) async throws(ObjectStorageError) -> ObjectPage {
        try await logged("list", prefix, objects: { $0.objects.count }) { () throws(ObjectStorageError) in
            try await base.list(prefix: prefix, token: token)
        }
    }

    package func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError) {
        try await logged("delete", key) { () throws(ObjectStorageError) in try await base.delete(key, ifTag: ifTag) }
    }

    package func extendRetention(_ key: String, _ retention: Retention) async throws(ObjectStorageError) {
        try await logged("extendRetention", key) { () throws(ObjectStorageError) in
            try await base.extendRetention(key, retention)
        }
    }

    package func serverTime() async throws(ObjectStorageError) -> Timestamp {
        try await logged("serverTime", "") { () throws(ObjectStorageError) in try await base.serverTime() }
    }

    private func logged<R>(
        _ operation: String, _ key: String, bytes: (R) -> Int? = { _ in nil }, objects: (R) -> Int? = { _ in nil },
        _ body: () async throws(ObjectStorageError) -> R
    ) async throws(ObjectStorageError) -> R {
        guard logger.logLevel <= .debug else { return try await body() }
        let start = timing.now()
        var metadata: Logger.Metadata = ["operation": "\(operation)", "key": "\(key)"]
        do throws(ObjectStorageError) {
            let result = try await body()
            metadata["outcome"] = "ok"
            if let bytes = bytes(result) { metadata["bytes"] = "\(bytes)" }
            if let objects = objects(result) { metadata["objects"] = "\(objects)" }
            metadata["milliseconds"] = "\(milliseconds(since: start))"
            logger.debug("object store request", metadata: metadata)
            return result
        } catch {
            metadata["outcome"] = "\(error.code)"
            metadata["error"] = "\(error.message)"
            metadata["milliseconds"] = "\(milliseconds(since: start))"
            logger.debug("object store request failed", metadata: metadata)
            throw error
        }
    }

    private func milliseconds(since start: Double) -> Double {
        ((timing.now() - start) * 100_000).rounded() / 100
    }
}
