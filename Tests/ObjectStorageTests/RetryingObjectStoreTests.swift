import Basics
import ObjectStorage
import ObjectStorageTesting
import Testing

@Suite("Retrying")
struct RetryingObjectStoreTests {
    let memory = MemoryObjectStore(clock: ManualWallClock())
    let faulty: FaultyObjectStore
    let time = VirtualTiming(chance: 0.5)
    let policy = RetryPolicy(maximumAttempts: 6, totalSeconds: 100, baseSeconds: 1, maximumDelaySeconds: 6)
    let store: RetryingObjectStore

    init() {
        faulty = FaultyObjectStore(memory)
        store = RetryingObjectStore(faulty, policy: policy, timing: time.timing)
    }

    @Test("Waits double up to a maximum, and chance shortens them")
    func delays() async throws {
        faulty.inject(.fail(.unavailable), on: .get, times: 5)
        try await memory.put("a", bytes: [7])
        #expect(try await store.get("a", maximumBytes: 1) == [7])
        #expect(time.sleeps == [0.5, 1, 2, 3, 3])
        #expect(faulty.operations == 6)
    }

    @Test("Every operation is retried")
    func everyOperation() async throws {
        try await memory.put("a", bytes: [1])
        faulty.inject(.fail(.timedOut), at: 1, times: 1) { $0.operation == .put }
        for operation in [.get, .head, .list, .delete, .serverTime, .extendRetention] as [StoreRequest.Operation] {
            faulty.inject(.fail(.unreachable), on: operation)
        }
        try await store.put("b", bytes: [2])
        #expect(try await store.get("a", maximumBytes: 1) == [1])
        #expect(try await store.head("a").size == 1)
        #expect(try await store.listAll(prefix: "").map(\.key) == ["a", "b"])
        _ = try await store.serverTime()
        try await store.extendRetention("b", Retention(mode: .governance, until: Timestamp(seconds: 4_000_000_000)))
        try await store.delete("a", ifTag: nil)
        #expect(memory.count == 1)
        #expect(time.sleeps.count == 7)
    }

    @Test(
        "What will not pass is not retried",
        arguments: [.notFound, .accessDenied, .noSpace, .preconditionFailed, .locked, .failed, .tooLarge, .unsupported]
            as [ObjectStorageError.Code])
    func permanent(code: ObjectStorageError.Code) async {
        faulty.inject(.fail(code), on: .head, times: 9)
        let error = await #expect(throws: ObjectStorageError.self) { try await store.head("a") }
        #expect(error?.code == code)
        #expect(faulty.operations == 1)
        #expect(time.sleeps.isEmpty)
    }

    @Test("Attempts and total time are bounded, and the last error tells how often it was tried")
    func bounds() async {
        faulty.inject(.fail(.unavailable), on: .head, times: 99)
        let error = await #expect(throws: ObjectStorageError.self) { try await store.head("a") }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("6 attempts") == true)
        #expect(faulty.operations == 6)

        let short = RetryPolicy(maximumAttempts: 99, totalSeconds: 4, baseSeconds: 1, maximumDelaySeconds: 6)
        let impatient = RetryingObjectStore(faulty, policy: short, timing: time.timing)
        let before = faulty.operations
        _ = await #expect(throws: ObjectStorageError.self) { try await impatient.head("a") }
        #expect(faulty.operations - before == 4)  // at 0, 0.5, 1.5 and 3.5 s; the next wait would end at 6.5
    }

    @Test("The store's wish to wait is followed, unless it goes beyond the total")
    func retryAfter() async throws {
        try await memory.put("a", bytes: [1])
        faulty.inject(.error(ObjectStorageError(.throttled, "slow down", retryAfterSeconds: 42)), on: .head)
        _ = try await store.head("a")
        #expect(time.sleeps == [42])
        faulty.inject(.error(ObjectStorageError(.throttled, "slow down", retryAfterSeconds: 420)), on: .head)
        _ = await #expect(throws: ObjectStorageError.self) { try await store.head("a") }
        #expect(time.sleeps == [42])
    }

    @Test("A creation whose answer was lost is recognised as ours", arguments: [1, 4])
    func lostAnswer(lost: Int) async throws {
        faulty.inject(.loseAnswer(.timedOut), on: .put)
        if lost > 1 { faulty.inject(.fail(.unavailable), on: .put, times: lost - 1) }
        var random = SeededGenerator(seed: 3)
        let body = ObjectBody([Buffer(random.bytes(5 << 20)), Buffer(capacity: 4), Buffer(random.bytes(777))])
        let receipt = try await store.put("a", body, options: PutOptions(condition: .ifAbsent))
        #expect(try await memory.head("a").tag == receipt.tag)
        #expect(memory.count == 1)
    }

    @Test("A replacement whose answer was lost is recognised as ours")
    func lostReplacement() async throws {
        let first = try await memory.put("a", bytes: [1])
        faulty.inject(.loseAnswer(.timedOut), on: .put)
        let receipt = try await store.put("a", bytes: [2], options: PutOptions(condition: .ifTag(first.tag)))
        #expect(try await memory.head("a").tag == receipt.tag)
    }

    @Test(
        "Another's object is not taken for ours: by size, by first and by last byte",
        arguments: [[1, 2], [9, 2, 3], [1, 2, 9]] as [[UInt8]])
    func anothersObject(other: [UInt8]) async throws {
        // Ours never arrives, although the error leaves that open; the other's does meanwhile.
        faulty.inject(.error(ObjectStorageError(.timedOut, "no answer", isAmbiguous: true)), on: .put)
        var timing = time.timing
        timing.sleep = { [memory] (_) throws(CancellationError) in
            do { try await memory.put("a", bytes: other) } catch { Issue.record(error) }
        }
        let store = RetryingObjectStore(faulty, policy: policy, timing: timing)
        let error = await #expect(throws: ObjectStorageError.self) {
            try await store.put("a", bytes: [1, 2, 3], options: PutOptions(condition: .ifAbsent))
        }
        #expect(error?.code == .preconditionFailed)
        #expect(error?.isAmbiguous == false)
        #expect(try await memory.get("a", maximumBytes: 9) == other)
    }

    @Test("A refusal without an earlier doubt stands, even for equal bytes")
    func plainRefusal() async throws {
        try await memory.put("a", bytes: [1])
        faulty.inject(.fail(.throttled), on: .put)
        let error = await #expect(throws: ObjectStorageError.self) {
            try await store.put("a", bytes: [1], options: PutOptions(condition: .ifAbsent))
        }
        #expect(error?.code == .preconditionFailed)
    }

    @Test("When ours cannot be told from another's, the error says that it is in doubt")
    func undecidable() async throws {
        faulty.inject(.loseAnswer(.timedOut), on: .put)
        faulty.inject(.fail(.accessDenied), on: .head, times: 9)
        let error = await #expect(throws: ObjectStorageError.self) {
            try await store.put("a", bytes: [1], options: PutOptions(condition: .ifAbsent))
        }
        #expect(error?.code == .preconditionFailed)
        #expect(error?.isAmbiguous == true)
    }

    @Test("A deletion by tag whose answer was lost has succeeded when the object is gone")
    func lostDeletion() async throws {
        let receipt = try await memory.put("a", bytes: [1])
        faulty.inject(.loseAnswer(.unavailable), on: .delete)
        try await store.delete("a", ifTag: receipt.tag)
        #expect(memory.count == 0)
        let error = await #expect(throws: ObjectStorageError.self) { try await store.delete("a", ifTag: receipt.tag) }
        #expect(error?.code == .notFound)
    }

    @Test("A deletion by tag does not succeed when somebody put the object anew")
    func replacedMeanwhile() async throws {
        let receipt = try await memory.put("a", bytes: [1])
        try await memory.put("a", bytes: [2])
        faulty.inject(.error(ObjectStorageError(.timedOut, "no answer", isAmbiguous: true)), on: .delete)
        let error = await #expect(throws: ObjectStorageError.self) { try await store.delete("a", ifTag: receipt.tag) }
        #expect(error?.code == .preconditionFailed)
        #expect(memory.count == 1)
    }

    @Test("After cancellation nothing starts, and the error keeps the doubt")
    func cancellation() async throws {
        faulty.inject(.loseAnswer(.timedOut), on: .put, times: 9)
        let error = await withTaskGroup(of: ObjectStorageError?.self) { group in
            group.addTask {
                do throws(ObjectStorageError) {
                    try await store.put("a", bytes: [1])
                    return nil
                } catch {
                    return error
                }
            }
            // The first attempt ends in a wait; cancelled there, the second must not start.
            time.onSleep { _ in withUnsafeCurrentTask { $0?.cancel() } }
            return await group.next() ?? nil
        }
        #expect(error?.code == .cancelled)
        #expect(error?.isAmbiguous == true)
        #expect(faulty.operations == 1)
    }

    @Test("The observer hears of each failure that is retried, and of no other")
    func notices() async {
        let heard = Counter()
        faulty.inject(.fail(.unavailable), on: .head, times: 99)
        let store = RetryingObjectStore(faulty, policy: policy, timing: time.timing) { notice in
            #expect(notice.error.code == .unavailable)
            #expect(notice.attempts == heard.add())
        }
        _ = await #expect(throws: ObjectStorageError.self) { try await store.head("a") }
        #expect(heard.value == 5)
    }
}
