import Basics
import ObjectStorageTesting
import Synchronization
import Testing

@testable import ObjectStorage

@Suite("Throttling")
struct ThrottledObjectStoreTests {
    @Test("The window grows by one for each window of successes, up to its bound")
    func growth() throws {
        var window = ConcurrencyWindow(bounds: 1...6, initial: 2)
        var limits: [Int] = []
        for _ in 0..<16 {
            window.end(try take(&window), .success)
            limits.append(window.limit)
        }
        #expect(limits == [2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6, 6, 6])
    }

    @Test("A slow-down halves the window once for all that were under way, down to its bound")
    func halving() throws {
        var window = ConcurrencyWindow(bounds: 2...64, initial: 32)
        let crowd = try (0..<32).map { _ in try take(&window) }
        #expect(window.begin() == nil)
        for permit in crowd { window.end(permit, .slowDown) }
        #expect(window.limit == 16)
        #expect(window.inFlight == 0)
        for expected in [8, 4, 2, 2] {
            window.end(try take(&window), .slowDown)
            #expect(window.limit == expected)
        }
        window.end(try take(&window), .neutral)
        #expect(window.limit == 2)
    }

    private func take(_ window: inout ConcurrencyWindow) throws -> ConcurrencyWindow.Permit {
        let permit = window.begin()
        return try #require(permit)
    }

    @Test("Random ends keep the window within its bounds and its count right", arguments: [1, 2, 3] as [UInt64])
    func randomEnds(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var window = ConcurrencyWindow(bounds: 1...20, initial: 5)
        var permits: [ConcurrencyWindow.Permit] = []
        for _ in 0..<10_000 {
            if Bool.random(using: &random), let permit = window.begin() {
                permits.append(permit)
            } else if let index = permits.indices.randomElement(using: &random) {
                let outcomes: [ConcurrencyWindow.Outcome] = [.success, .success, .success, .slowDown, .neutral]
                window.end(permits.remove(at: index), outcomes[Int.random(in: 0..<5, using: &random)])
            }
            #expect(window.inFlight == permits.count && (1...20).contains(window.limit), "seed \(seed)")
        }
    }

    @Test("No more requests reach the store than the window allows, and all get there")
    func boundedConcurrency() async throws {
        let gauge = GaugeStore()
        let store = ThrottledObjectStore(gauge, limits: .init(requests: 3...3, initialRequests: 3))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<200 { group.addTask { try await store.put("k/\(index)", bytes: [1]) } }
            try await group.waitForAll()
        }
        #expect(gauge.highest == 3)
        #expect(gauge.memory.count == 200)
        #expect(store.waiting == 0)
    }

    @Test("Those who wait begin in the order in which they came")
    func order() async throws {
        let recording = RecordingObjectStore(MemoryObjectStore())
        let faulty = FaultyObjectStore(recording)
        faulty.inject(.hang, on: .head)
        let store = ThrottledObjectStore(faulty, limits: .init(requests: 1...1, initialRequests: 1))
        try await withThrowingTaskGroup(of: Void.self) { group in
            let blocker = Task { try await store.head("blocker") }
            await faulty.waitUntilHanging()
            for index in 0..<20 {
                group.addTask { try await store.put("\(index)", bytes: []) }
                while store.waiting <= index { await Task.yield() }
            }
            blocker.cancel()
            try await group.waitForAll()
        }
        #expect(recording.keys(.put) == (0..<20).map { "\($0)" })
    }

    @Test("Who is cancelled leaves the queue at once, and the others go on")
    func cancelledWaiter() async throws {
        let memory = MemoryObjectStore()
        let faulty = FaultyObjectStore(memory)
        faulty.inject(.hang, on: .head)
        let store = ThrottledObjectStore(faulty, limits: .init(requests: 1...1, initialRequests: 1))
        let blocker = Task { try await store.head("blocker") }
        await faulty.waitUntilHanging()
        let tasks = (0..<3).map { index in Task { try await store.put("\(index)", bytes: []) } }
        while store.waiting < 3 { await Task.yield() }
        tasks[1].cancel()
        let error = await #expect(throws: ObjectStorageError.self) { try await tasks[1].value }
        #expect(error?.code == .cancelled)
        #expect(store.waiting == 2)
        blocker.cancel()
        _ = try await (tasks[0].value, tasks[2].value)
        #expect(try await memory.listAll(prefix: "").map(\.key) == ["0", "2"])
        // The place that the cancelled one never had was not lost either.
        try await store.put("last", bytes: [])
    }

    @Test("Slow-downs of the store halve the window; answers such as 'not found' do not")
    func learns() async throws {
        let faulty = FaultyObjectStore(MemoryObjectStore())
        let store = ThrottledObjectStore(faulty, limits: .init(requests: 1...64, initialRequests: 16))
        for code in [.notFound, .preconditionFailed, .timedOut, .unreachable] as [ObjectStorageError.Code] {
            faulty.inject(.fail(code), on: .head)
            _ = await #expect(throws: ObjectStorageError.self) { try await store.head("a") }
            #expect(store.currentLimit == 16)
        }
        faulty.inject(.fail(.throttled), on: .head)
        _ = await #expect(throws: ObjectStorageError.self) { try await store.head("a") }
        #expect(store.currentLimit == 8)
        faulty.inject(.fail(.unavailable), on: .head)
        _ = await #expect(throws: ObjectStorageError.self) { try await store.head("a") }
        #expect(store.currentLimit == 4)
    }

    @Test("Uploads keep to their rate on average")
    func uploadRate() async throws {
        let time = VirtualTiming()
        let limits = ThrottledObjectStore.Limits(uploadBytesPerSecond: 1000)
        let store = ThrottledObjectStore(MemoryObjectStore(), limits: limits, timing: time.timing)
        for index in 0..<10 { try await store.put("\(index)", bytes: [UInt8](repeating: 0, count: 500)) }
        #expect(time.sleeps == [Double](repeating: 0.5, count: 9))
        time.advance(bySeconds: 100)
        try await store.put("late", bytes: [UInt8](repeating: 0, count: 500))
        #expect(time.sleeps.count == 9, "time that passed unused is no debt and no credit")
        try await store.put("later", bytes: [1])
        #expect(time.sleeps.last == 0.5)
    }

    @Test("Downloads keep to their rate, whether or not their size is known beforehand")
    func downloadRate() async throws {
        let time = VirtualTiming()
        let memory = MemoryObjectStore()
        try await memory.put("a", bytes: [UInt8](repeating: 0, count: 3000))
        let limits = ThrottledObjectStore.Limits(downloadBytesPerSecond: 1000)
        let store = ThrottledObjectStore(memory, limits: limits, timing: time.timing)
        _ = try await store.get("a", maximumBytes: 4000)
        #expect(time.sleeps == [])
        let buffer = Buffer(capacity: 10)
        _ = try await store.get("a", range: 2000..<4000, into: buffer, maximumBytes: 4000)
        #expect(time.sleeps == [3])
        _ = try await store.get("a", range: 0..<10, into: buffer, maximumBytes: 4000)
        #expect(time.sleeps.map { ($0 * 1000).rounded() } == [3000, 1000], "1000 bytes came of the 2000 booked")
    }
}

/// Counts how many requests are under way at once.
private final class GaugeStore: ForwardingObjectStore {
    let memory = MemoryObjectStore()
    private let state = Mutex((now: 0, highest: 0))

    var base: any ObjectStore { memory }
    var highest: Int { state.withLock { $0.highest } }

    func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        state.withLock { state in
            state.now += 1
            state.highest = max(state.highest, state.now)
        }
        for _ in 0..<5 { await Task.yield() }
        defer { state.withLock { $0.now -= 1 } }
        return try await memory.put(key, body, options: options)
    }
}
