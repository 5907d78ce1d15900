import Basics
import Logging
import ObjectStorage
import ObjectStorageTesting
import Synchronization
import Testing

@Suite("Logging and read-only stores")
struct SmallDecoratorTests {
    @Test("Each request is logged with its key, size, time and outcome")
    func logs() async throws {
        let lines = LineLog()
        let time = VirtualTiming()
        let faulty = FaultyObjectStore(MemoryObjectStore())
        faulty.beforeMutation { _ in time.advance(bySeconds: 0.25) }
        let store = LoggingObjectStore(faulty, logger: lines.logger(.debug), timing: time.timing)
        try await store.put("a", bytes: [1, 2, 3])
        _ = try await store.get("a", maximumBytes: 9)
        _ = try await store.list(prefix: "a", token: nil)
        _ = await #expect(throws: ObjectStorageError.self) { try await store.head("b") }
        try await store.delete("a", ifTag: nil)
        #expect(
            lines.all == [
                "bytes=3 key=a milliseconds=250.0 operation=put outcome=ok",
                "bytes=3 key=a milliseconds=0.0 operation=get outcome=ok",
                "key=a milliseconds=0.0 objects=1 operation=list outcome=ok",
                "error=cannot look up b in memory: there is no such object key=b milliseconds=0.0 operation=head "
                    + "outcome=notFound",
                "key=a milliseconds=250.0 operation=delete outcome=ok",
            ])
    }

    @Test("Nothing is logged above debug")
    func silent() async throws {
        let lines = LineLog()
        let store = LoggingObjectStore(MemoryObjectStore(), logger: lines.logger(.info))
        try await store.put("a", bytes: [1])
        #expect(lines.all.isEmpty)
    }

    @Test("A read-only store reads, and refuses every change without asking")
    func readOnly() async throws {
        let memory = MemoryObjectStore()
        try await memory.put("a", bytes: [1])
        let recording = RecordingObjectStore(memory)
        let store = ReadOnlyObjectStore(recording)
        let retention = Retention(mode: .governance, until: Timestamp(seconds: 4_000_000_000))
        let changes: [() async throws -> Void] = [
            { try await store.put("b", bytes: []) }, { try await store.delete("a", ifTag: nil) },
            { try await store.extendRetention("a", retention) },
        ]
        for change in changes {
            let error = await #expect(throws: ObjectStorageError.self) { try await change() }
            #expect(error?.code == .accessDenied)
        }
        #expect(recording.requests.isEmpty)
        #expect(try await store.get("a", maximumBytes: 1) == [1])
        #expect(try await store.listAll(prefix: "").count == 1)
    }
}

/// Collects log lines: their metadata, sorted.
private final class LineLog: Sendable {
    private let lines = Mutex<[String]>([])

    var all: [String] { lines.withLock { $0 } }

    func logger(_ level: Logger.Level) -> Logger {
        var logger = Logger(label: "test") { _ in Handler(log: self, logLevel: level) }
        logger.logLevel = level
        return logger
    }

    private func append(_ line: String) { lines.withLock { $0.append(line) } }

    private struct Handler: LogHandler {
        let log: LineLog
        var logLevel: Logger.Level
        var metadata: Logger.Metadata = [:]

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            log.append((event.metadata ?? [:]).map { "\($0)=\($1)" }.sorted().joined(separator: " "))
        }
    }
}
