import ObjectStorage
import ObjectStorageTesting
import Testing

@Suite("Stores keep the guarantees")
struct ConformanceTests {
    @Test("Memory", arguments: ObjectStoreConformance.checks)
    func memory(check: ObjectStoreConformance.Check) async throws {
        try await check.run(on: MemoryObjectStore())
    }
}
