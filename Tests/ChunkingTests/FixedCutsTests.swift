import Chunking
import Testing

@Suite("Fixed cuts")
struct FixedCutsTests {
    private static let piece = FileCutter.pieceBytes

    @Test("Cuts lie at multiples of the piece, wherever reading begins and however it goes on, and at the end")
    func multiples() {
        var cutter = FileCutter.fixed(start: 5)
        #expect(cutter.cuts(scannedUpTo: Self.piece - 1, endOfFile: false) == [])
        #expect(cutter.cuts(scannedUpTo: Self.piece, endOfFile: false) == [Self.piece])
        #expect(cutter.cuts(scannedUpTo: 3 * Self.piece + 7, endOfFile: false) == [2 * Self.piece, 3 * Self.piece])
        #expect(cutter.cuts(scannedUpTo: 3 * Self.piece + 512, endOfFile: true) == [3 * Self.piece + 512])
    }

    @Test("A file that ends with a piece has no empty one behind it")
    func aligned() {
        var cutter = FileCutter.fixed(start: 0)
        #expect(cutter.cuts(scannedUpTo: 2 * Self.piece, endOfFile: true) == [Self.piece, 2 * Self.piece])
        #expect(cutter.cuts(scannedUpTo: 2 * Self.piece, endOfFile: true) == [])
    }
}
