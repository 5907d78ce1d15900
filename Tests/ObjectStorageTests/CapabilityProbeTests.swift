import Basics
import ObjectStorage
import ObjectStorageTesting
import Testing

@Suite("Probing")
struct CapabilityProbeTests {
    let clock = ManualWallClock()
    let all = StoreCapabilities(
        createIfAbsent: true, replaceIfTag: true, conditionalDelete: true, listIsOrdered: true, retention: true)

    @Test("An honest store is trusted with everything, and nothing is left behind")
    func honest() async throws {
        let store = MemoryObjectStore(clock: clock)
        let report = try await CapabilityProbe(clock: clock).run(on: store)
        #expect(report.capabilities == all)
        #expect(report.findings == [])
        #expect(report.isUsable)
        #expect(report.clockSkewSeconds == 0)
        #expect(store.count == 0)
    }

    @Test("A directory is trusted with all but retention")
    func directory() async throws {
        let directory = try TemporaryDirectory()
        let store = try await DirectoryObjectStore(root: directory.path)
        let report = try await CapabilityProbe().run(on: store)
        var expected = all
        expected.retention = false
        #expect(report.capabilities == expected)
        #expect(report.findings == [])
        #expect(abs(report.clockSkewSeconds) < 2)
        #expect(try await store.listAll(prefix: "").isEmpty)
    }

    @Test("Each lie is found out, told in one line, and nothing else is lost", arguments: Lie.allCases)
    func lying(lie: Lie) async throws {
        var behaviour = MemoryObjectStore.Behaviour()
        behaviour[keyPath: lie.behaviour] = true
        let store = MemoryObjectStore(clock: clock, behaviour: behaviour)
        let report = try await CapabilityProbe(clock: clock).run(on: store)
        var expected = all
        expected[keyPath: lie.lost] = false
        #expect(report.capabilities == expected)
        #expect(report.findings.map(\.severity) == [.degraded])
        #expect(report.findings.allSatisfy { !$0.message.contains("\n") })
        #expect(report.isUsable)
        #expect(store.count == 0)
        // What is probed keeps what it still claims, and its stand-ins do for one caller what the server does for many.
        let probed = ProbedObjectStore(store, capabilities: report.capabilities)
        for check in ObjectStoreConformance.checks { try await check.run(on: probed) }
        try await refusesOneAfterTheOther(probed)
    }

    private func refusesOneAfterTheOther(_ store: any ObjectStore) async throws {
        func expectRefused(_ operation: () async throws -> Void) async {
            let error = await #expect(throws: ObjectStorageError.self) { try await operation() }
            #expect(error?.code == .preconditionFailed)
        }
        let first = try await store.put("a", bytes: [1], options: PutOptions(condition: .ifAbsent))
        await expectRefused { try await store.put("a", bytes: [2], options: PutOptions(condition: .ifAbsent)) }
        try await store.put("a", bytes: [3], options: PutOptions(condition: .ifTag(first.tag)))
        await expectRefused { try await store.put("a", bytes: [4], options: PutOptions(condition: .ifTag(first.tag))) }
        await expectRefused { try await store.delete("a", ifTag: first.tag) }
        #expect(try await store.get("a", maximumBytes: 1) == [3])
        try await store.delete("a", ifTag: try await store.head("a").tag)
    }

    @Test("A store that knows no conditions at all is degraded, not an error")
    func unsupported() async throws {
        let faulty = FaultyObjectStore(MemoryObjectStore(clock: clock))
        faulty.inject(.fail(.unsupported), times: 999) { $0.condition != .none }
        let report = try await CapabilityProbe(clock: clock).run(on: faulty)
        #expect(!report.capabilities.createIfAbsent)
        #expect(!report.capabilities.replaceIfTag)
        #expect(!report.capabilities.conditionalDelete)
        #expect(report.isUsable)
        try await refusesOneAfterTheOther(ProbedObjectStore(faulty, capabilities: report.capabilities))
    }

    @Test(
        "A store that loses, keeps or garbles objects is broken",
        arguments: [
            ("read", StoreRequest.Operation.put, FaultyObjectStore.Fault.pretend), ("read", .put, .corrupt),
            ("read", .put, .truncate), ("read", .delete, .pretend), ("range", .get, .corrupt),
            ("list/a0", .put, .pretend),
        ])
    func broken(key: String, operation: StoreRequest.Operation, fault: FaultyObjectStore.Fault) async throws {
        let faulty = FaultyObjectStore(MemoryObjectStore(clock: clock))
        faulty.inject(fault) { $0.operation == operation && $0.key.hasSuffix("/" + key) }
        let report = try await CapabilityProbe(clock: clock).run(on: faulty)
        #expect(report.findings.map(\.severity) == [.broken])
        #expect(!report.isUsable)
    }

    @Test("A clock that is off is told, with its direction", arguments: [-3600.0, 400])
    func skew(seconds: Double) async throws {
        let server = ManualWallClock(clock.now().advanced(bySeconds: seconds))
        let report = try await CapabilityProbe(clock: clock).run(on: MemoryObjectStore(clock: server))
        #expect(report.clockSkewSeconds == seconds)
        #expect(report.findings.count == 1)
        #expect(report.findings.first?.message.contains(seconds > 0 ? "ahead of" : "behind") == true)
    }

    @Test("What a probe that was killed left is removed a day later; another's is not touched before")
    func abandoned() async throws {
        let store = MemoryObjectStore(clock: clock)
        try await store.put(CapabilityProbe.prefix + "dead/read", bytes: [1])
        try await store.put("other", bytes: [1])
        _ = try await CapabilityProbe(clock: clock).run(on: store)
        #expect(store.count == 2)
        clock.advance(bySeconds: 90_000)
        _ = try await CapabilityProbe(clock: clock).run(on: store)
        #expect(try await store.listAll(prefix: "").map(\.key) == ["other"])
    }

    @Test("A probe that fails midway removes what it made, and tells the first error", arguments: 1...25)
    func failsMidway(at operation: Int) async throws {
        let memory = MemoryObjectStore(clock: clock)
        let faulty = FaultyObjectStore(memory)
        faulty.inject(.fail(.accessDenied), at: operation) { _ in true }
        let error = await #expect(throws: ObjectStorageError.self) {
            try await CapabilityProbe(clock: clock).run(on: faulty)
        }
        #expect(error?.code == .accessDenied)
        #expect(memory.count == 0)
    }
}
