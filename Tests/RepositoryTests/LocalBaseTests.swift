import Basics
import ObjectStorage
import Repository
import RepositoryFormat
import Sealing
import Synchronization
import Testing

/// Bases that lie outside of the repository, and the memory that bases take.
@Suite struct LocalBaseTests {
    /// Bytes in memory, as if they were a file's.
    private final class Local: LocalBase {
        let bytes: [UInt8]
        let readers: Mutex<(now: Int, most: Int)>
        let noted = Mutex<[Bool]>([])

        init(_ bytes: [UInt8]) {
            self.bytes = bytes
            readers = Mutex((0, 0))
        }

        func read(into buffer: UnsafeMutableRawBufferPointer) -> Bool {
            readers.withLock {
                $0.now += 1
                $0.most = max($0.most, $0.now)
            }
            defer { readers.withLock { $0.now -= 1 } }
            guard buffer.count == bytes.count else { return false }
            buffer.copyBytes(from: bytes)
            return true
        }

        func note(isBase: Bool) { noted.withLock { $0.append(isBase) } }
    }

    private static func traits(_ locals: [any LocalBase]) -> ChunkTraits {
        ChunkTraits(
            family: ChunkFamily(elementWidth: 2, isFloatingPoint: true), offset: 0, locals: locals)
    }

    private static func add(_ bytes: [UInt8], _ encoder: ChunkEncoder, _ locals: [any LocalBase]) throws -> ChunkID {
        try bytes.withUnsafeBytes {
            try encoder.add(
                [$0], contentDigest: SHA256State.digest(of: $0), kind: .data, traits: traits(locals))
        }
    }

    @Test func manyThreadsHoldNoMoreBasesThanThePlanSays() async throws {
        let test = try await TestRepository.create()
        let plan = test.repository.plan
        #expect(plan.bases == 1)
        let first = TestWeights.make(400_000, seed: 1)
        let local = Local(first)
        let session = try await WriteSession.begin(test.repository, index: try await test.repository.loadIndex())
        let next = (0..<24).map { TestWeights.stepped(first, seed: 100 + UInt64($0)) }
        let (base, ids) = try await BlockingBridge.offload(name: "test-write") {
            Result {
                let encoder = try ChunkEncoder(session: session)
                let base = try Self.add(first, encoder, [])
                let ids = Mutex<[Int: ChunkID]>([:])
                let failure = Mutex<(any Error)?>(nil)
                WorkerThreads(count: 4, name: "test-encode") { thread in
                    do {
                        let encoder = try ChunkEncoder(session: session)
                        for number in stride(from: thread, to: next.count, by: 4) {
                            let id = try Self.add(next[number], encoder, [local])
                            ids.withLock { $0[number] = id }
                        }
                    } catch {
                        failure.withLock { $0 = error }
                    }
                }.join()
                if let error = failure.withLock({ $0 }) { throw error }
                try session.finish()
                return (base, ids.withLock { $0 })
            }
        }
        await session.heartbeatEnd()
        #expect(local.readers.withLock { $0.most } == plan.bases)
        // All are differences to the one that this very session has stored, and are read back.
        let repository = try await test.reopened()
        let index = try await repository.loadIndex()
        let loader = TreeLoader(repository: repository, index: index)
        for (number, id) in ids {
            let location = try #require(index.find(id, kind: .data))
            #expect(location.base == base && location.codec == .difference)
            let read = try await BlockingBridge.offload(name: "test-read") {
                Result { try loader.chunk(id, kind: .data) }
            }
            #expect(read == next[number])
        }
        #expect(index.findWhole(base, kind: .data)?.codec == .planes)
    }

    /// A difference itself, bytes that nobody has stored, and bytes that have changed since are none; the next is asked.
    @Test func onlyAChunkThatIsStoredWholeIsABase() async throws {
        let test = try await TestRepository.create()
        let first = TestWeights.make(400_000, seed: 2)
        let second = TestWeights.stepped(first, seed: 3)
        try await test.repository.snapshot(["model": first], chunkBytes: 1 << 20)
        try await test.repository.snapshot(["model": second], chunkBytes: 1 << 20, bases: ["model": first])
        var changed = first
        changed[5] ^= 1
        let (difference, stranger, rotten, whole) = (
            Local(second), Local(TestWeights.stepped(first, seed: 4)), Local(changed), Local(first)
        )
        let session = try await WriteSession.begin(test.repository, index: try await test.repository.loadIndex())
        let third = TestWeights.stepped(second, seed: 5)
        let (id, alone) = try await BlockingBridge.offload(name: "test-write") {
            Result {
                let encoder = try ChunkEncoder(session: session)
                let id = try Self.add(third, encoder, [difference, stranger, rotten, whole])
                let alone = try Self.add(TestWeights.stepped(second, seed: 6), encoder, [difference, stranger, rotten])
                try session.finish()
                return (id, alone)
            }
        }
        await session.heartbeatEnd()
        let index = try await test.repository.loadIndex()
        #expect(
            index.find(id, kind: .data)?.base
                == test.repository.chunkIdentifier.id(of: SHA256State.digest(of: first), kind: .data))
        #expect(index.find(alone, kind: .data)?.codec == .planes)
        for none in [difference, stranger, rotten] { #expect(none.noted.withLock { $0 } == [false, false]) }
        #expect(whole.noted.withLock { $0 } == [true])
    }

    @Test(arguments: [96, 128, 256, 512, 1024, 4096], [1, 2, 8, 64])
    func thePartsOfThePlanFitTheBudget(mebibytes: Int, processors: Int) {
        let plan = MemoryPlan(memoryBytes: mebibytes << 20, processors: processors, connections: 8)
        let bases = plan.bases * 2 * plan.baseBytes
        #expect(plan.bases >= 1)
        #expect(
            plan.packs * plan.packBytes + plan.strips * plan.stripBytes + plan.treePacks * plan.treePackBytes + bases
                <= mebibytes << 20)
        // What is decoded takes twice a range; two ranges are read at the least.
        #expect(max(0, plan.ranges - 2) * 3 * plan.rangeBytes + bases <= mebibytes << 20)
    }
}
