import Basics
import ObjectStorage
import ObjectStorageTesting
import Testing

@Suite("Faulty and recording stores")
struct FaultyObjectStoreTests {
    let memory = MemoryObjectStore()
    let faulty: FaultyObjectStore

    init() { faulty = FaultyObjectStore(memory) }

    private func code(_ body: () async throws(ObjectStorageError) -> Void) async -> ObjectStorageError.Code? {
        do throws(ObjectStorageError) {
            try await body()
            return nil
        } catch {
            return error.code
        }
    }

    @Test("Exactly the n-th fitting call suffers, so many times")
    func counting() async throws {
        faulty.inject(.fail(.throttled), at: 2, times: 2) { $0.operation == .put && $0.key.hasPrefix("x") }
        var codes: [ObjectStorageError.Code?] = []
        for key in ["x1", "y1", "x2", "y2", "x3", "x4"] {
            codes.append(await code { () throws(ObjectStorageError) in try await faulty.put(key, bytes: []) })
        }
        #expect(codes == [nil, nil, .throttled, nil, .throttled, nil])
        #expect(try await memory.listAll(prefix: "").map(\.key) == ["x1", "x4", "y1", "y2"])
        #expect(faulty.operations == 6)
        #expect(faulty.mutations == 6)
    }

    @Test("A lost answer takes effect and is in doubt; a pretended success does nothing")
    func lostAndPretended() async throws {
        faulty.inject(.loseAnswer(.timedOut), on: .put)
        faulty.inject(.pretend, on: .put)
        let error = await #expect(throws: ObjectStorageError.self) { try await faulty.put("a", bytes: [1]) }
        #expect(error?.isAmbiguous == true)
        try await faulty.put("b", bytes: [1])
        #expect(try await memory.listAll(prefix: "").map(\.key) == ["a"])
        faulty.inject(.pretend, on: .delete)
        try await faulty.delete("a", ifTag: nil)
        #expect(memory.count == 1)
    }

    @Test("Corruption changes one bit, truncation halves, both ways", arguments: [true, false])
    func damage(onPut: Bool) async throws {
        let bytes = [UInt8](0..<100)
        for fault in [.corrupt, .truncate] as [FaultyObjectStore.Fault] {
            faulty.inject(fault, on: onPut ? .put : .get)
            let body = ObjectBody([Buffer(Array(bytes[..<30])), Buffer(Array(bytes[30...]))])
            _ = try await faulty.put("a", body, options: PutOptions())
            let found = try await faulty.get("a", maximumBytes: 100)
            switch fault {
            case .corrupt:
                let differences = zip(found, bytes).reduce(0) { $0 + ($1.0 ^ $1.1).nonzeroBitCount }
                #expect(found.count == 100 && differences == 1)
            default: #expect(found == Array(bytes[..<50]))
            }
            #expect(body.pieces[0].array() == Array(bytes[..<30]), "the caller's bytes are left alone")
        }
    }

    @Test(
        "After a crash the base holds what came before, and nothing works until healed", arguments: 1...6,
        [true, false])
    func crash(at mutation: Int, takingEffect: Bool) async throws {
        faulty.crash(atMutation: mutation, takingEffect: takingEffect)
        var failures = 0
        for index in 1...5 {
            failures +=
                await code { () throws(ObjectStorageError) in try await faulty.put("\(index)", bytes: []) } == nil
                ? 0 : 1
            failures += await code { () throws(ObjectStorageError) in _ = try await faulty.serverTime() } == nil ? 0 : 1
        }
        let survivors = min(5, takingEffect ? mutation : mutation - 1)
        #expect(memory.count == survivors)
        #expect(failures == (mutation > 5 ? 0 : 2 * (6 - mutation)))
        #expect(faulty.hasCrashed == (mutation <= 5))
        faulty.heal()
        try await faulty.put("after", bytes: [])
    }

    @Test("A hanging call ends with its task, and only then")
    func hang() async {
        faulty.inject(.hang, on: .head, times: 2)
        let tasks = (0..<2).map { _ in Task { try await faulty.head("a") } }
        await faulty.waitUntilHanging(2)
        for task in tasks { task.cancel() }
        for task in tasks {
            let error = await #expect(throws: ObjectStorageError.self) { try await task.value }
            #expect(error?.code == .cancelled)
        }
    }

    @Test("Observers hear of each change before and after the base makes it")
    func observers() async throws {
        let memory = memory
        let seen = Counter()
        faulty.beforeMutation { #expect(memory.count == $0.mutation - 1) }
        faulty.afterMutation { request in
            #expect(memory.count == request.mutation)
            seen.add()
        }
        for index in 0..<3 {
            try await faulty.put("\(index)", bytes: [])
            _ = try await faulty.head("\(index)")
        }
        #expect(seen.value == 3)
    }

    @Test("A recorder tells what was asked, in order")
    func recording() async throws {
        let recorder = RecordingObjectStore(memory)
        let receipt = try await recorder.put("a", bytes: [1, 2], options: PutOptions(condition: .ifAbsent))
        let buffer = Buffer(capacity: 1)
        _ = try await recorder.get("a", range: 1..<2, into: buffer, maximumBytes: 1)
        _ = try await recorder.list(prefix: "x", token: nil)
        try await recorder.delete("a", ifTag: receipt.tag)
        #expect(
            recorder.requests == [
                StoreRequest(operation: .put, key: "a", bytes: 2, condition: .ifAbsent, ordinal: 1, mutation: 1),
                StoreRequest(operation: .get, key: "a", range: 1..<2, ordinal: 2, mutation: 1),
                StoreRequest(operation: .list, key: "x", ordinal: 3, mutation: 1),
                StoreRequest(operation: .delete, key: "a", condition: .ifTag(receipt.tag), ordinal: 4, mutation: 2),
            ])
        #expect(recorder.keys(.delete) == ["a"])
    }
}
