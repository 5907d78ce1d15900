import Chunking
import Testing

/// The specification once more, byte by byte and without a thought for speed.
enum Reference {
    /// Every candidate of a file.
    static func candidates(of file: [UInt8], material: [UInt8], _ parameters: ChunkerParameters) -> [CutCandidate] {
        var words = [UInt64](repeating: 0, count: 256)
        for (index, byte) in material.enumerated() { words[index / 8] |= UInt64(byte) << UInt64(index % 8 * 8) }
        let logarithm = parameters.average.trailingZeroBitCount
        var hash: UInt64 = 0
        var candidates: [CutCandidate] = []
        for (index, byte) in file.enumerated() {
            hash = hash << 1 &+ words[Int(byte)]
            if hash >> UInt64(64 - (logarithm - 2)) == 0 {
                candidates.append(
                    CutCandidate(
                        position: UInt64(index + 1), isStrict: hash >> UInt64(64 - (logarithm + 2)) == 0))
            }
        }
        return candidates
    }

    /// Every cut of a file of `size` bytes.
    static func cuts(size: Int, candidates: [CutCandidate], _ parameters: ChunkerParameters) -> [UInt64] {
        var strict: [Int: Bool] = [:]
        for candidate in candidates { strict[Int(candidate.position)] = candidate.isStrict }
        var cuts: [UInt64] = []
        var start = 0
        while start < size {
            var cut = start
            while true {
                cut += 1
                let length = cut - start
                if cut == size || length == parameters.maximum { break }
                if length >= parameters.average, strict[cut] != nil { break }
                if length >= parameters.minimum, strict[cut] == true { break }
            }
            cuts.append(UInt64(cut))
            start = cut
        }
        return cuts
    }
}

/// Scans `file` in segments that end at `ends`, in an order of its own, as parallel workers would.
func scan(_ file: [UInt8], ends: [Int], with scanner: CutScanner) -> [[CutCandidate]] {
    file.withUnsafeBytes { file in
        var start = 0
        return ends.map { end in
            defer { start = end }
            let leadIn = min(CutScanner.window, start)
            var found: [CutCandidate] = []
            scanner.scan(
                UnsafeRawBufferPointer(rebasing: file[(start - leadIn)..<end]), leadIn: leadIn, offset: UInt64(start),
                into: &found)
            return found
        }
    }
}

/// Ascending ends of segments that cover `size` bytes; some are a byte long, some longer than the striped loop needs.
func randomEnds(_ size: Int, using generator: inout SeededGenerator) -> [Int] {
    var ends: [Int] = []
    var end = 0
    while end < size {
        let longest = [1, 63, 64, 65, 200, 5000, 40_000][Int.random(in: 0..<7, using: &generator)]
        end = min(end + Int.random(in: 1...longest, using: &generator), size)
        ends.append(end)
    }
    return ends
}

/// The cuts of `file` scanned and selected in segments.
func cuts(of file: [UInt8], ends: [Int], material: [UInt8], _ parameters: ChunkerParameters) throws -> [UInt64] {
    let scanner = CutScanner(table: GearTable(material: material), parameters: parameters)
    var selector = CutSelector(parameters: parameters)
    var cuts: [UInt64] = []
    for (end, found) in zip(ends, scan(file, ends: ends, with: scanner)) {
        selector.add(found)
        cuts += selector.cuts(scannedUpTo: UInt64(end), endOfFile: false)
    }
    return cuts + selector.cuts(scannedUpTo: UInt64(file.count), endOfFile: true)
}
