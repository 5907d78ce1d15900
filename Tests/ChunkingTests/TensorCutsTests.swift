import Testing

@testable import Chunking
@testable import TensorFiles

@Suite("Cutting at tensors")
struct TensorCutsTests {
    private struct Piece {
        var name: String?
        var dtype = TensorDType.bf16
        var bytes: UInt64
    }

    /// A layout of pieces one after another; those without a name are padding.
    private func layout(_ pieces: [Piece]) throws -> TensorLayout {
        var regions: [TensorLayout.Region] = []
        var offset: UInt64 = 0
        for piece in pieces {
            if let name = piece.name {
                regions.append(
                    .init(
                        name: name, dtype: piece.dtype, shape: [piece.bytes / UInt64(piece.dtype.width)],
                        range: offset..<offset + piece.bytes))
            }
            offset += piece.bytes
        }
        return try TensorLayout(format: .safetensors, size: offset, regions: regions)
    }

    private func cuts(_ cuts: TensorCuts) -> [UInt64] {
        var cutter = FileCutter.tensors(cuts, start: 0)
        let end = cuts.stretches.last?.range.upperBound ?? 0
        return cutter.cuts(scannedUpTo: end, endOfFile: true)
    }

    @Test(
        "Every byte lies in one chunk, and a tensor's chunks are counted from its start",
        arguments: 0..<40 as Range<UInt64>)
    func coverage(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var pieces: [Piece] = []
        for number in 0..<Int.random(in: 1...60, using: &generator) {
            let isTensor = Int.random(in: 0..<3, using: &generator) > 0
            let most: UInt64 = Bool.random(using: &generator) ? 2000 : 10 << 20
            pieces.append(
                Piece(name: isTensor ? "t\(number)" : nil, bytes: UInt64.random(in: 0...most, using: &generator) & ~1))
        }
        let layout = try layout(pieces)
        let tensorCuts = TensorCuts(layout)
        let cuts = cuts(tensorCuts)
        #expect(cuts.last ?? 0 == layout.size)
        var start: UInt64 = 0
        var chunks: Set<Range<UInt64>> = []
        for cut in cuts {
            #expect(cut > start && cut - start <= TensorCuts.pieceBytes)
            chunks.insert(start..<cut)
            start = cut
        }
        for region in layout.regions where region.byteCount >= TensorCuts.smallBelow {
            for piece in stride(from: region.range.lowerBound, to: region.range.upperBound, by: 4 << 20) {
                #expect(chunks.contains(piece..<min(piece + 4 << 20, region.range.upperBound)), "\(region.name)")
            }
            let stretch = tensorCuts.stretches[tensorCuts.stretch(at: region.range.upperBound - 1)]
            #expect(stretch.range == region.range && stretch.name == region.name && stretch.elementWidth == 2)
        }
    }

    @Test("Cuts do not depend on how far was read at a time, nor on where one began")
    func steps() throws {
        let layout = try layout([
            Piece(bytes: 777), Piece(name: "a", bytes: 9 << 20), Piece(name: "b", bytes: 100), Piece(bytes: 64),
            Piece(name: "c", dtype: .f32, bytes: 5 << 20), Piece(bytes: 3 << 20),
        ])
        let tensors = TensorCuts(layout)
        let whole = cuts(tensors)
        for step in [1000, 4096, 1 << 20, 3 << 20] as [UInt64] {
            var cutter = FileCutter.tensors(tensors, start: 0)
            var found: [UInt64] = []
            var position: UInt64 = 0
            while position < layout.size {
                position = min(position + step, layout.size)
                found += cutter.cuts(scannedUpTo: position, endOfFile: position == layout.size)
            }
            #expect(found == whole)
        }
        for start in whole.dropLast() {
            var cutter = FileCutter.tensors(tensors, start: start)
            #expect(cutter.cuts(scannedUpTo: layout.size, endOfFile: true) == whole.filter { $0 > start })
        }
        // An extent of data ends within a piece: so does the chunk.
        var cutter = FileCutter.tensors(tensors, start: 0)
        #expect(cutter.cuts(scannedUpTo: 2 << 20, endOfFile: true).last == 2 << 20)
    }

    @Test("Small tensors share a stretch, the header has its own, and types are told only where all are alike")
    func groups() throws {
        let small = (0..<30).map { Piece(name: "s\($0)", bytes: 100 << 10) }
        let stretches = TensorCuts(
            try layout([Piece(bytes: 500)] + small + [Piece(name: "i", dtype: .i32, bytes: 40), Piece(bytes: 9)])
        ).stretches
        #expect(stretches.map(\.range.count) == [500, 1_024_000, 1_024_000, 1_024_000 + 49])
        #expect(stretches.map(\.elementWidth) == [nil, 2, 2, nil])
        #expect(stretches.allSatisfy { $0.name == nil })
    }

    @Test("What is no file of tensors has no such cuts, and errors of reading come through")
    func others() throws {
        #expect(try TensorCuts(size: 1000) { _, buffer in buffer.count } == nil)
        struct Broken: Error {}
        #expect(throws: Broken.self) { _ = try TensorCuts(size: 1000) { _, _ in throw Broken() } }
    }
}
