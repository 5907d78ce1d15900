import Logging
import ObjectStorage
import Repository
import RepositoryFormat
import Testing

@testable import Orchestration

@Suite("Key slots of movers")
struct MoverSlotsTests {
    @Test("Many at once get their keys, on a server that lets the second of two writers overwrite the first, too")
    func concurrent() async throws {
        var behaviour = MemoryObjectStore.Behaviour()
        behaviour.ignoresCreateIfAbsent = true
        let store = MemoryObjectStore(
            behaviour: behaviour,
            capabilities: StoreCapabilities(
                createIfAbsent: false, replaceIfTag: false, conditionalDelete: false, listIsOrdered: true,
                retention: false))
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let access = RepositoryAccess(
            store: store, credential: .keyFile(Array(0..<32)), options: RepositoryOptions(logger: logger))
        _ = try await access.create(label: "test", graceSeconds: 3600)
        let slots = MoverSlots(open: { try await access.open() })
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in UInt8(0)..<12 {
                group.addTask {
                    _ = try await slots.add(
                        key: [UInt8](repeating: number, count: 48), role: .writer, run: "r\(number)")
                }
            }
            try await group.waitForAll()
        }
        let labels = try await access.open().slots.map(\.label).filter { $0.hasPrefix("mover ") }
        #expect(Set(labels) == Set((0..<12).map { "mover r\($0)" }))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<12 { group.addTask { try await slots.remove(run: "r\(number)") } }
            try await group.waitForAll()
        }
        #expect(try await access.open().slots.count == 1)
    }
}
