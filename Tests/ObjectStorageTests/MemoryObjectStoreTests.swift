import Basics
import ObjectStorage
import ObjectStorageTesting
import Testing

@Suite("Memory store")
struct MemoryObjectStoreTests {
    let clock = ManualWallClock()

    @Test("Retention keeps the object until the store's clock has passed it, and only grows")
    func retention() async throws {
        let store = MemoryObjectStore(clock: clock)
        let start = clock.now()
        let day = Retention(mode: .compliance, until: start.advanced(bySeconds: 86_400))
        try await store.put("a", bytes: [1], options: PutOptions(retention: day))
        func expectLocked() async {
            for operation in [{ try await store.delete("a", ifTag: nil) }, { try await store.put("a", bytes: [2]) }]
                as [() async throws -> Void]
            {
                let error = await #expect(throws: ObjectStorageError.self) { try await operation() }
                #expect(error?.code == .locked)
            }
        }
        await expectLocked()
        try await store.extendRetention("a", Retention(mode: .governance, until: start.advanced(bySeconds: 10)))
        #expect(store.retention(of: "a") == day)
        try await store.extendRetention("a", Retention(mode: .compliance, until: start.advanced(bySeconds: 90_000)))
        clock.advance(bySeconds: 86_401)
        await expectLocked()
        clock.advance(bySeconds: 4000)
        try await store.delete("a", ifTag: nil)
        #expect(store.count == 0)
    }

    @Test("Dates are the given clock's")
    func dates() async throws {
        let store = MemoryObjectStore(clock: clock)
        let first = clock.now()
        #expect(try await store.put("a", bytes: []).date == first)
        clock.advance(bySeconds: -50)
        let head = try await store.head("a")
        #expect(head.modified == first)
        #expect(head.date == first.advanced(bySeconds: -50))
        #expect(try await store.list(prefix: "", token: nil).date == clock.now())
        #expect(try await store.serverTime() == clock.now())
    }

    @Test("What the caller does with its buffer after a put does not reach the store")
    func ownsItsBytes() async throws {
        let store = MemoryObjectStore()
        let buffer = Buffer([1, 2, 3])
        _ = try await store.put("a", ObjectBody([buffer]), options: PutOptions())
        buffer.storage[0] = 9
        #expect(try await store.get("a", maximumBytes: 3) == [1, 2, 3])
    }

    @Test("An unordered listing pages through everything once")
    func unordered() async throws {
        var behaviour = MemoryObjectStore.Behaviour()
        behaviour.listsUnordered = true
        behaviour.pageSize = 7
        let store = MemoryObjectStore(behaviour: behaviour)
        let keys = (0..<100).map { "k\($0)" }
        for key in keys { try await store.put(key, bytes: []) }
        var listed: [String] = []
        var token: String?
        repeat {
            let page = try await store.list(prefix: "k", token: token)
            listed += page.objects.map(\.key)
            token = page.next
        } while token != nil
        #expect(listed != keys.sorted())
        #expect(listed.sorted() == keys.sorted())
        #expect(try await store.listAll(prefix: "k").map(\.key) == keys.sorted())
    }
}
