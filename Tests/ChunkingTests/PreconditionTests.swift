import Testing

@testable import Chunking

/// What stops the program rather than cut wrongly.
///
/// `make unit` runs these by themselves: Swift Testing waits for the end of such a test's process by asking for any child that
/// has ended (waitid(2) with P_ALL and WNOWAIT), and where one of another test's is there that nobody has waited for yet, it is
/// given that one again and again and never learns of its own.
@Suite("What stops the program")
struct PreconditionTests {
    @Test("Too few bytes in front of a segment stop the program: the cuts would be wrong")
    func leadInTooShort() async {
        await #expect(processExitsWith: .failure) {
            let parameters = ChunkerParameters.standard
            let table = GearTable(material: [UInt8](repeating: 1, count: 2048))
            var found: [CutCandidate] = []
            [UInt8](repeating: 0, count: 100).withUnsafeBytes {
                CutScanner(table: table, parameters: parameters).scan($0, leadIn: 63, offset: 64, into: &found)
            }
        }
    }

    @Test("A table takes exactly 2048 bytes")
    func material() async {
        await #expect(processExitsWith: .failure) { _ = GearTable(material: [UInt8](repeating: 0, count: 2047)) }
        await #expect(processExitsWith: .failure) { _ = GearTable(material: [UInt8](repeating: 0, count: 2049)) }
    }

    @Test("Candidates out of order stop the program")
    func order() async {
        await #expect(processExitsWith: .failure) {
            var selector = CutSelector(parameters: .standard)
            selector.add([CutCandidate(position: 5, isStrict: true)])
            selector.add([CutCandidate(position: 4, isStrict: true)])
        }
    }
}
