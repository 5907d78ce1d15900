import Chunking
import Testing

@Suite("Cut scanner")
struct CutScannerTests {
    static let seeds: [UInt64] = [1, 2, 3, 4, 5]

    private func scanner(_ material: [UInt8], _ parameters: ChunkerParameters) -> CutScanner {
        CutScanner(table: GearTable(material: material), parameters: parameters)
    }

    @Test("Any division of a file into segments gives the candidates of one byte-by-byte pass", arguments: seeds)
    func segmentation(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let material = generator.bytes(GearTable.materialSize)
        for average in [128, 1024, 1 << 14] {
            let parameters = try #require(ChunkerParameters(minimum: 64, average: average, maximum: 1 << 15))
            let scanner = scanner(material, parameters)
            let file = generator.bytes(Int.random(in: 60_000...150_000, using: &generator))
            let expected = Reference.candidates(of: file, material: material, parameters)
            #expect(expected.count > 10, "seed \(seed)")
            #expect(scan(file, ends: [file.count], with: scanner).flatMap { $0 } == expected, "whole, seed \(seed)")
            for _ in 0..<3 {
                let ends = randomEnds(file.count, using: &generator)
                let found = scan(file, ends: ends, with: scanner).flatMap { $0 }
                #expect(found == expected, "seed \(seed), average \(average), ends \(ends)")
            }
        }
    }

    /// Over 16 leading zero bits the lanes' least words are a hint only; this is where the standard sizes are.
    @Test("Candidates of more than 16 bits are found exactly", arguments: [11, 12] as [UInt64])
    func rareCandidates(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let material = generator.bytes(GearTable.materialSize)
        let parameters = try #require(ChunkerParameters(minimum: 64, average: 1 << 19, maximum: 1 << 22))
        let file = generator.bytes(3 << 20)
        let expected = Reference.candidates(of: file, material: material, parameters)
        #expect((8...50).contains(expected.count), "one in 128 KiB, seed \(seed)")
        let ends = [1 << 20, (1 << 20) + 77, (2 << 20) - 1, file.count]
        let found = scan(file, ends: ends, with: scanner(material, parameters))
        #expect(found.flatMap { $0 } == expected, "seed \(seed)")
    }

    @Test("Every length near the striped loop's boundaries", arguments: [4094...4100, 4220...4230, 4345...4360])
    func lengths(range: ClosedRange<Int>) throws {
        var generator = SeededGenerator(seed: 6)
        let material = generator.bytes(GearTable.materialSize)
        let parameters = try #require(ChunkerParameters(minimum: 64, average: 128, maximum: 1024))
        let scanner = scanner(material, parameters)
        let file = generator.bytes(range.upperBound + 100)
        let expected = Reference.candidates(of: file, material: material, parameters)
        for length in range {
            for start in [0, 1, 63, 64, 100] {
                let found = scan(file, ends: start == 0 ? [length] : [start, start + length], with: scanner)
                let limits = UInt64(start)..<UInt64(start + length)
                let within = expected.filter { limits.contains($0.position - 1) }
                #expect(found.last == within, "\(length) bytes from \(start)")
            }
        }
    }

    /// A word of zero for the byte zero makes every position of a run of zeros a candidate.
    @Test("A run in which every position is a candidate")
    func dense() throws {
        var generator = SeededGenerator(seed: 8)
        let material = [UInt8](repeating: 0, count: 8) + generator.bytes(GearTable.materialSize - 8)
        let parameters = try #require(ChunkerParameters(minimum: 100, average: 1024, maximum: 4096))
        let file = generator.bytes(5000) + [UInt8](repeating: 0, count: 9000) + generator.bytes(5000)
        let expected = Reference.candidates(of: file, material: material, parameters)
        #expect(expected.count > 8900)
        #expect(scan(file, ends: [file.count], with: scanner(material, parameters)) == [expected])
        let cuts = try cuts(of: file, ends: [6000, file.count], material: material, parameters)
        #expect(cuts.filter { (6000..<13_900).contains($0) }.count >= 77, "chunks of the minimum in the run")
    }

    @Test("What was found before stays in front, even where positions are lower")
    func appends() throws {
        var generator = SeededGenerator(seed: 9)
        let material = generator.bytes(GearTable.materialSize)
        let parameters = try #require(ChunkerParameters(minimum: 64, average: 128, maximum: 1024))
        let before = [CutCandidate(position: 1 << 40, isStrict: true)]
        var found = before
        let file = generator.bytes(10_000)
        file.withUnsafeBytes {
            scanner(material, parameters).scan($0, leadIn: 0, offset: 0, into: &found)
        }
        #expect(found == before + Reference.candidates(of: file, material: material, parameters))
    }

    @Test("An empty segment has no candidates")
    func empty() throws {
        let parameters = ChunkerParameters.standard
        let scanner = scanner([UInt8](repeating: 1, count: GearTable.materialSize), parameters)
        var found: [CutCandidate] = []
        scanner.scan(UnsafeRawBufferPointer(start: nil, count: 0), leadIn: 0, offset: 0, into: &found)
        [UInt8](repeating: 0, count: 64).withUnsafeBytes { scanner.scan($0, leadIn: 64, offset: 64, into: &found) }
        #expect(found.isEmpty)
    }
}
