import ObjectStorage
import ObjectStorageTesting
import Testing

@Suite("Stores keep the guarantees")
struct ConformanceTests {
    @Test("Memory", arguments: ObjectStoreConformance.checks)
    func memory(check: ObjectStoreConformance.Check) async throws {
        try await check.run(on: MemoryObjectStore())
    }

    @Test("Directory", arguments: ObjectStoreConformance.checks)
    func directory(check: ObjectStoreConformance.Check) async throws {
        let directory = try TemporaryDirectory()
        try await check.run(on: DirectoryObjectStore(root: directory.path))
    }
}
