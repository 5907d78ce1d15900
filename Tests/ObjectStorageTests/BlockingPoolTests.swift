import Basics
import ObjectStorageTesting
import Testing

@testable import ObjectStorage

@Suite("Blocking pool")
struct BlockingPoolTests {
    let request = RequestContext(action: "test", key: "k", location: "here")

    @Test("Jobs run on several threads at once, none of them more than the limit")
    func parallel() async throws {
        let pool = BlockingPool(limit: 3, name: "test")
        // Each job waits for two others to be under way: fewer than three threads would never end.
        let running = Monitor((now: 0, highest: 0, begun: 0))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<30 {
                group.addTask {
                    try await pool.run(request) { (_) throws(ObjectStorageError) in
                        running.signal { state in
                            state.now += 1
                            state.begun += 1
                            state.highest = max(state.highest, state.now)
                        }
                        running.wait { $0.begun >= 3 ? () : nil }
                        running.signal { $0.now -= 1 }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(running.withLock { $0.highest } == 3)
    }

    @Test("A job that waits for a thread is cancelled at once; one that runs ends, and learns of it")
    func cancellation() async throws {
        let pool = BlockingPool(limit: 1, name: "test")
        let gate = Monitor((isRunning: false, isOpen: false, ran: 0))
        let running = Task {
            try await pool.run(request) { (cancellation) throws(ObjectStorageError) in
                gate.signal { $0.isRunning = true }
                gate.wait { $0.isOpen ? () : nil }
                return cancellation.isCancelled
            }
        }
        while !gate.withLock({ $0.isRunning }) { await Task.yield() }
        let waiting = Task {
            try await pool.run(request) { (_) throws(ObjectStorageError) in gate.withLock { $0.ran += 1 } }
        }
        waiting.cancel()
        let error = await #expect(throws: ObjectStorageError.self) { try await waiting.value }
        #expect(error?.code == .cancelled)
        running.cancel()
        gate.signal { $0.isOpen = true }
        #expect(try await running.value)
        try await pool.run(request) { (_) throws(ObjectStorageError) in gate.withLock { $0.ran += 10 } }
        #expect(gate.withLock { $0.ran } == 10)
    }

    @Test("Errors pass through")
    func errors() async {
        let pool = BlockingPool(limit: 1, name: "test")
        let error = await #expect(throws: ObjectStorageError.self) {
            try await pool.run(request) { (_) throws(ObjectStorageError) in throw request.notFound() }
        }
        #expect(error?.code == .notFound)
    }
}
