package import Basics
package import Logging
package import ObjectStorage
package import SystemPackage

/// How a repository is worked with; nothing of it is stored.
package struct RepositoryOptions: Sendable {
    /// How chunks are compressed.
    package enum CompressionMode: Hashable, Sendable {
        /// Not at all.
        case off
        /// zstd at this level where a sample says that it pays.
        case zstd(level: Int32)
    }

    /// Bytes that all buffers together may take. See `MemoryPlan`.
    package var memoryBytes: Int
    /// Threads that compute.
    package var processors: Int
    /// Requests to the store at once.
    package var connections: Int
    package var compression: CompressionMode
    /// Where decoded index segments are kept between runs; nil keeps them in memory only.
    package var cacheDirectory: FilePath?
    /// How long, and how firmly, new objects are kept from removal; nil for not at all.
    package var retention: RetentionPolicy?
    package var clock: any WallClock
    package var logger: Logger

    /// Retention for objects stored from now on.
    package struct RetentionPolicy: Hashable, Sendable {
        package var mode: Retention.Mode
        /// Seconds from the moment an object is stored.
        package var seconds: Double

        package init(mode: Retention.Mode, seconds: Double) {
            self.mode = mode
            self.seconds = seconds
        }
    }

    /// Defaults for this machine: a quarter of the memory, at most 256 MiB on two processors and 1 GiB on many.
    package init(
        memoryBytes: Int? = nil, processors: Int = SystemLimits.processors, connections: Int = 8,
        compression: CompressionMode = .zstd(level: 1), cacheDirectory: FilePath? = nil,
        retention: RetentionPolicy? = nil, clock: any WallClock = SystemWallClock(),
        logger: Logger = Logger(label: "becalm")
    ) {
        let ceiling = min(max(processors, 2) * (128 << 20), 1 << 30)
        self.memoryBytes = memoryBytes ?? min(SystemLimits.memoryBytes / 4, ceiling)
        self.processors = processors
        self.connections = connections
        self.compression = compression
        self.cacheDirectory = cacheDirectory
        self.retention = retention
        self.clock = clock
        self.logger = logger
    }
}
