package import Logging
package import ObjectStorage

/// What everybody who works on a repository wants around its store.
package struct StoreDecoration: Sendable {
    /// Requests at once that a repository may make; the store's own limit begins there and may grow to 64.
    package var connections: Int
    /// Nil for no limit.
    package var uploadBytesPerSecond: Int?
    package var downloadBytesPerSecond: Int?
    package var logger: Logger
    /// How loudly an attempt that failed, and will be made again, is told.
    package var retryLevel: Logger.Level

    package init(
        connections: Int, uploadBytesPerSecond: Int? = nil, downloadBytesPerSecond: Int? = nil, logger: Logger,
        retryLevel: Logger.Level = .warning
    ) {
        self.connections = connections
        self.uploadBytesPerSecond = uploadBytesPerSecond
        self.downloadBytesPerSecond = downloadBytesPerSecond
        self.logger = logger
        self.retryLevel = retryLevel
    }

    /// The store with all of it; `capabilities` are what is known to hold, nil takes the store's word.
    ///
    /// From the inside: every attempt is logged; requests and bytes are bounded; what the store lacks is made up for; and
    /// what may pass is tried again.
    package func around(
        _ store: any ObjectStore, capabilities: StoreCapabilities?, policy: RetryPolicy
    ) -> any ObjectStore {
        let (logger, level) = (logger, retryLevel)
        var limits = ThrottledObjectStore.Limits()
        limits.requests = 1...max(64, connections)
        limits.initialRequests = max(limits.initialRequests, connections)
        limits.uploadBytesPerSecond = uploadBytesPerSecond
        limits.downloadBytesPerSecond = downloadBytesPerSecond
        let throttled = ThrottledObjectStore(LoggingObjectStore(store, logger: logger), limits: limits)
        let base: any ObjectStore =
            capabilities.map { ProbedObjectStore(throttled, capabilities: $0) } ?? throttled
        return RetryingObjectStore(base, policy: policy) { notice in
            let tenths = Int((notice.delaySeconds * 10).rounded())
            logger.log(
                level: level,
                "attempt \(notice.attempts) failed, the next is in \(tenths / 10).\(tenths % 10) s: \(notice.error)")
        }
    }
}
