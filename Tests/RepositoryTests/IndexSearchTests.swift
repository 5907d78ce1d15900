import Basics
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Sealing
import Testing

@Suite struct IndexSearchTests {
    /// How the ids of a segment are spread.
    enum Spread: CaseIterable {
        case uniform, equal, equalHigh, clustered, few, ends, consecutive
    }

    static func id(_ high: UInt64, _ low: UInt64, _ rest: UInt64 = 0) throws -> ChunkID {
        var bytes: [UInt8] = []
        for word in [high, low, rest, rest] { withUnsafeBytes(of: word.bigEndian) { bytes += $0 } }
        return ChunkID(try #require(Digest(bytes: bytes)))
    }

    static func ids(_ spread: Spread, _ count: Int, _ generator: inout SeededGenerator) throws -> [ChunkID] {
        let base = generator.next()
        return try (0..<count).map { number in
            switch spread {
            case .uniform: try id(generator.next(), generator.next())
            case .equal: try id(base, base)
            case .equalHigh: try id(base, generator.next())
            case .clustered: try id(base &+ generator.next() % 3, generator.next() % 5)
            case .few: try id(generator.next() % 4, generator.next() % 2)
            case .ends: try id(number % 2 == 0 ? generator.next() % 50 : .max - generator.next() % 50, 0)
            case .consecutive: try id(UInt64(number), 0)
            }
        }
    }

    @Test(arguments: Spread.allCases) func interpolationFindsWhatALinearSearchFinds(spread: Spread) throws {
        var generator = SeededGenerator(seed: UInt64.random(in: 0...UInt64.max))
        let comment: Comment = "\(spread), seed \(generator.seed)"
        let keyring = try Keyring.generate(
            repositoryID: try Identifier.random(), configDigest: SHA256State.digest(of: []))
        let session = try SessionHeader.create(keyring: keyring).header
        let pack = IndexedPack(
            id: try Identifier.random(), kind: .data, bytes: 1000, retainedUntil: Timestamp(seconds: 0),
            session: session)
        for count in [0, 1, 2, 31, 32, 33, 34, 65, 100, 500, 3000] {
            let ids = try Self.ids(spread, count, &generator)
            let entries = ids.enumerated().map { number, id in
                IndexEntry(
                    id: id, pack: 0, offset: UInt32(number), sealedLength: 1, rawLength: 1, isGroup: number % 3 == 0)
            }
            let segment = try IndexSegment(recovered: [pack], entries: entries, id: try Identifier.random())
            #expect(segment.count == count, comment)
            var wanted = Array(ids.prefix(300))
            for id in ids.prefix(100) {
                let (high, low) = id.digest.prefix
                wanted += [
                    try Self.id(high, low &+ 1), try Self.id(high, low &- 1), try Self.id(high &+ 1, low),
                    try Self.id(high &- 1, low),
                ]
            }
            wanted += [try Self.id(0, 0), try Self.id(.max, .max), try Self.id(generator.next(), generator.next())]
            for id in wanted {
                let rows = segment.rows(of: id)
                let found = rows.map { segment.entry($0) }.sorted { $0.offset < $1.offset }
                let expected = entries.filter { $0.matches(id) }
                #expect(found == expected, comment)
            }
        }
    }

    @Test func theFilterSeldomErrsAndNeverMissesAnEntry() throws {
        var generator = SeededGenerator(seed: UInt64.random(in: 0...UInt64.max))
        let keyring = try Keyring.generate(
            repositoryID: try Identifier.random(), configDigest: SHA256State.digest(of: []))
        let session = try SessionHeader.create(keyring: keyring).header
        let pack = IndexedPack(
            id: try Identifier.random(), kind: .data, bytes: 1000, retainedUntil: Timestamp(seconds: 0),
            session: session)
        let ids = try Self.ids(.uniform, 20_000, &generator)
        let plain = IndexSegmentLayout.encode(
            packs: [pack],
            entries: ids.map {
                IndexEntry(id: $0, pack: 0, offset: 0, sealedLength: 1, rawLength: 1, isGroup: false)
            })
        let layout = try IndexSegmentLayout(plain: plain.bytes)
        let filter = UnsafeRawBufferPointer(rebasing: plain.bytes[layout.filterOffset...])
        #expect(ids.allSatisfy { SplitBlockFilter.mayContain($0.digest.prefix.0, in: filter) })
        let strangers = try Self.ids(.uniform, 20_000, &generator)
        let wrong = strangers.count { SplitBlockFilter.mayContain($0.digest.prefix.0, in: filter) }
        #expect(wrong < 400, "seed \(generator.seed): \(wrong) of 20000")
    }
}
