import Chunking
import Testing

@Suite("Cut selector")
struct CutSelectorTests {
    static let seeds: [UInt64] = [21, 22, 23, 24]
    static let sizes: [(Int, Int, Int)] = [(64, 128, 300), (256, 1024, 4096), (1000, 1024, 1025), (200, 4096, 5000)]

    @Test("Any division of a file gives the cuts of the byte-by-byte reference", arguments: seeds)
    func reference(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let material = generator.bytes(GearTable.materialSize)
        for (minimum, average, maximum) in Self.sizes {
            let parameters = try #require(ChunkerParameters(minimum: minimum, average: average, maximum: maximum))
            let file = generator.bytes(Int.random(in: 0...100_000, using: &generator))
            let candidates = Reference.candidates(of: file, material: material, parameters)
            let expected = Reference.cuts(size: file.count, candidates: candidates, parameters)
            for ends in [[file.count]] + (0..<3).map({ _ in randomEnds(file.count, using: &generator) }) {
                let found = try cuts(of: file, ends: ends, material: material, parameters)
                #expect(found == expected, "seed \(seed), \(minimum)/\(average)/\(maximum), ends \(ends)")
            }
            var start: UInt64 = 0
            for cut in expected {
                let length = Int(cut - start)
                #expect(length <= maximum && (length >= minimum || cut == UInt64(file.count)))
                start = cut
            }
            #expect(start == UInt64(file.count))
        }
    }

    @Test("A cut is given as soon as it is certain, and never twice")
    func early() throws {
        let parameters = try #require(ChunkerParameters(minimum: 100, average: 256, maximum: 1000))
        var selector = CutSelector(parameters: parameters)
        selector.add([
            CutCandidate(position: 50, isStrict: true), CutCandidate(position: 150, isStrict: false),
            CutCandidate(position: 160, isStrict: true),
        ])
        #expect(selector.cuts(scannedUpTo: 170, endOfFile: false) == [160], "too early, loose, strict")
        #expect(selector.cuts(scannedUpTo: 170, endOfFile: false) == [])
        selector.add([CutCandidate(position: 400, isStrict: false), CutCandidate(position: 416, isStrict: false)])
        #expect(selector.cuts(scannedUpTo: 450, endOfFile: false) == [416], "loose only from the average on")
        #expect(selector.cuts(scannedUpTo: 1415, endOfFile: false) == [])
        #expect(selector.cuts(scannedUpTo: 1416, endOfFile: false) == [1416], "at the maximum")
        selector.add([CutCandidate(position: 1600, isStrict: true), CutCandidate(position: 2600, isStrict: false)])
        #expect(selector.cuts(scannedUpTo: 2599, endOfFile: false) == [1600])
        #expect(
            selector.cuts(scannedUpTo: 2600, endOfFile: true) == [2600],
            "a candidate at exactly the maximum and the file's end are one cut")
    }

    @Test("Candidates beyond what is said to be scanned wait")
    func beyond() throws {
        let parameters = try #require(ChunkerParameters(minimum: 100, average: 256, maximum: 1000))
        var selector = CutSelector(parameters: parameters)
        selector.add([CutCandidate(position: 150, isStrict: true)])
        #expect(selector.cuts(scannedUpTo: 149, endOfFile: false) == [])
        #expect(selector.cuts(scannedUpTo: 150, endOfFile: false) == [150])
    }

    @Test("Files without candidates: nothing, less than the minimum, multiples of the maximum")
    func plain() throws {
        let parameters = try #require(ChunkerParameters(minimum: 100, average: 256, maximum: 1000))
        for (size, expected) in [(0, []), (1, [1]), (1000, [1000]), (2500, [1000, 2000, 2500])] as [(UInt64, [UInt64])]
        {
            var selector = CutSelector(parameters: parameters)
            #expect(selector.cuts(scannedUpTo: size, endOfFile: true) == expected)
            #expect(selector.cuts(scannedUpTo: size, endOfFile: true) == [], "the end is not cut twice")
        }
    }

    @Test("After an insertion the cuts fall where they fell before", arguments: seeds)
    func insertion(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let material = generator.bytes(GearTable.materialSize)
        let parameters = try #require(ChunkerParameters(minimum: 256, average: 1024, maximum: 4096))
        let file = generator.bytes(200_000)
        let inserted = generator.bytes(Int.random(in: 1...50, using: &generator))
        let place = Int.random(in: 20_000...80_000, using: &generator)
        let changed = Array(file[..<place]) + inserted + Array(file[place...])
        let before = try cuts(of: file, ends: [file.count], material: material, parameters)
        let after = Set(try cuts(of: changed, ends: [changed.count], material: material, parameters))
        #expect(before.filter { $0 <= UInt64(place) }.allSatisfy(after.contains), "seed \(seed): in front of it")
        let behind = before.filter { $0 > UInt64(place) }.map { $0 + UInt64(inserted.count) }
        let lost = behind.firstIndex(where: after.contains) ?? behind.count
        #expect(lost <= 12, "seed \(seed): \(lost) chunks until the cuts agree")
        #expect(behind[lost...].allSatisfy(after.contains), "seed \(seed): once they agree they stay so")
    }

    /// Rates 1/(4 a) from a/4 to a and 4/a from there give 0.25 + 4 (1 - e^(-3/16)) + e^(-3/16)/4 = 1.141 averages.
    @Test("Chunks of random data are 1.14 times the average parameter")
    func averageSize() throws {
        var generator = SeededGenerator(seed: 31)
        let material = generator.bytes(GearTable.materialSize)
        let parameters = try #require(ChunkerParameters(minimum: 256, average: 1024, maximum: 4096))
        let file = generator.bytes(4 << 20)
        let count = try cuts(of: file, ends: [1 << 20, file.count], material: material, parameters).count
        let average = Double(file.count) / Double(count) / 1024
        #expect((1.11...1.17).contains(average), "\(average)")
    }

    /// From an implementation in another language, over the generator's bytes: the format's promise.
    @Test("Known cuts of a known file")
    func golden() throws {
        var table = SeededGenerator(seed: 2024)
        var data = SeededGenerator(seed: 7)
        let parameters = try #require(ChunkerParameters(minimum: 512, average: 2048, maximum: 8192))
        let file = data.bytes(40_000)
        let found = try cuts(
            of: file, ends: [10_000, 40_000], material: table.bytes(GearTable.materialSize), parameters)
        #expect(
            found == [
                2378, 4611, 7094, 9701, 10973, 13531, 15904, 18534, 19730, 20752, 22117, 24436, 26959, 29480, 32284,
                35616, 37781, 39935, 40000,
            ])
    }

    @Test(
        "Parameters out of order, too small, too large or with a crooked average are refused",
        arguments: [
            (63, 128, 256), (128, 128, 256), (64, 128, 128), (64, 130, 256), (64, 128, (1 << 30) + 1), (-1, 128, 256),
            (64, 0, 256), (64, Int.min, 256),
        ])
    func parameters(minimum: Int, average: Int, maximum: Int) {
        #expect(ChunkerParameters(minimum: minimum, average: average, maximum: maximum) == nil)
    }

    @Test("The standard sizes")
    func standard() {
        let standard = ChunkerParameters.standard
        #expect(ChunkerParameters(minimum: 524_288, average: 2_097_152, maximum: 8_388_608) == standard)
        #expect(ChunkerParameters() == standard)
        #expect(standard.looseBits == 19)
        #expect(standard.strictBits == 23)
    }
}
