import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Synchronization
import Testing

/// Keys that somebody else changes between two requests of ours.
@Suite struct KeyRaceTests {
    /// A store in which something happens before a table of keys is read, a number of times.
    private final class Interrupted: ForwardingObjectStore {
        let base: any ObjectStore
        private let left: Mutex<Int>
        private let body: @Sendable () async throws -> Void

        init(_ base: any ObjectStore, times: Int, _ body: @escaping @Sendable () async throws -> Void) {
            self.base = base
            left = Mutex(times)
            self.body = body
        }

        func get(
            _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
        ) async throws(ObjectStorageError) -> ObjectAttributes {
            let isMeant = key.hasPrefix(ObjectNames.keyTables)
            if isMeant,
                left.withLock({ left in
                    left > 0
                        ? {
                            left -= 1; return true
                        }() : false
                })
            {
                do {
                    try await body()
                } catch {
                    Issue.record("\(error)")
                }
            }
            return try await base.get(key, range: range, into: buffer, maximumBytes: maximumBytes)
        }
    }

    @Test("Whoever opens a repository while its keys are changed reads the tables that took the place of those listed")
    func changedMeanwhile() async throws {
        let test = try await TestRepository.create()
        let number = Mutex(UInt64(10))
        let store = Interrupted(test.store, times: 3) {
            let seed = number.withLock { number in
                number += 1
                return number
            }
            _ = try await test.reopened().addSlot(.keyFile(bytes(64, seed: seed)), role: .writer, label: "mover")
        }
        let opened = try await Repository.open(
            store: store, credential: TestRepository.key, options: TestRepository.options(test.clock))
        #expect(opened.slots.count == 4)
    }

    @Test("Tables that are all gone are not looked for for ever")
    func gone() async throws {
        let test = try await TestRepository.create()
        let base = test.store
        let store = Interrupted(base, times: 1) {
            for prefix in [ObjectNames.keyTables, ObjectNames.keyTableCopies] {
                for object in try await base.listAll(prefix: prefix) { try await base.delete(object.key, ifTag: nil) }
            }
        }
        #expect(
            await code {
                _ = try await Repository.open(
                    store: store, credential: TestRepository.key, options: TestRepository.options(test.clock))
            } == .damaged)
    }
}
