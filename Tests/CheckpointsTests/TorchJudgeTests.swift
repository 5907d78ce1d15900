import Checkpoints
import TensorFiles
import Testing

@Suite("Files of torch.save") struct TorchJudgeTests {
    static let cases: [JudgementCase] = [
        JudgementCase("whole", "torch/plain.pt", at: "a.pt", .complete),
        JudgementCase("whole, and read", "torch/plain.pt", at: "a.pt", .complete, isDeep: true),
        JudgementCase("legacy", "torch/legacy.pt", at: "a.pth", .complete, "before 1.6"),
        JudgementCase("no checksums", "torch/no_crc.pt", at: "a.bin", .complete, "CRC not recorded", isDeep: true),
        JudgementCase("cut at the end", "torch/plain.pt", at: "a.pt", .torn, "a.pt: expected") {
            try $0.truncate("a.pt", to: -1)
        },
        JudgementCase("cut in the middle", "torch/plain.pt", at: "a.bin", .torn) { try $0.truncate("a.bin", to: 700) },
        JudgementCase("cut in the first name", "torch/plain.pt", at: "a.pt", .torn) {
            try $0.truncate("a.pt", to: 20)
        },
        JudgementCase("one byte", "torch/plain.pt", at: "a.pt", .torn) { try $0.truncate("a.pt", to: 1) },
        JudgementCase("begun", "torch/plain.pt", at: "a.pt", .empty) { try $0.truncate("a.pt", to: 0) },
        JudgementCase("blocks that were not written", "torch/plain.pt", at: "a.pt", .torn, "zero bytes") {
            try $0.write("a.pt", [UInt8](repeating: 0, count: 2000))
        },
        JudgementCase("legacy, cut", "torch/legacy.pt", at: "a.pt", .torn) { try $0.truncate("a.pt", to: -1) },
        JudgementCase("a changed byte that no loader sees", "torch/plain.pt", at: "a.pt", .complete) {
            try $0.flipContent("a.pt")
        },
        JudgementCase("a changed byte, looked for", "torch/plain.pt", at: "a.pt", .unknown, "CRC", isDeep: true) {
            try $0.flipContent("a.pt")
        },
        JudgementCase("a link to nothing", "torch/plain.pt", at: "a.pt", .torn, "leads to nothing") {
            try $0.remove("a.pt")
            try $0.link("a.pt", to: "elsewhere.pt")
        },
        JudgementCase("a link out of the tree", "torch/plain.pt", at: "a.pt", .unknown, "leads out") {
            try $0.remove("a.pt")
            try $0.link("a.pt", to: "/etc/hostname")
        },
    ]

    @Test(arguments: cases) func judgement(of example: JudgementCase) throws { try example.check() }

    @Test func aCheckpointIsToldFromAModel() throws {
        let tree = try TemporaryTree("torch")
        let plain = try tree.survey().at("plain.pt")
        #expect(plain.step == 7)
        #expect(plain.kind == .checkpoint)
        #expect(plain.format == .torch)
        #expect(plain.contents == .files(["plain.pt"]))
        #expect(plain.bytes == 1877)
        #expect(plain.parameters == 16)
        #expect(plain.totals.map(\.dtype) == [.f32])
        #expect(plain.quarantineName == nil)
        try tree.truncate("plain.pt", to: -1)
        #expect(try tree.survey().at("plain.pt").quarantineName == "plain.pt.torn")
    }

    @Test func whatIsOfAnotherFormatIsNone() throws {
        let tree = try TemporaryTree()
        try tree.write("paths.pth", "/usr/lib/python3\n")
        try tree.write("firmware.bin", [UInt8](repeating: 0, count: 4000))
        try tree.write("empty.bin", "")
        try tree.write("archive.bin", Array("PK\u{3}\u{4}".utf8) + [UInt8](repeating: 7, count: 100))
        try tree.write("text.pt", "a pickle begins otherwise")
        #expect(try tree.survey().checkpoints.map(\.path) == ["archive.bin"])
    }
}

extension TemporaryTree {
    /// Changes a byte of a tensor that begins as the samples' do.
    func flipContent(_ path: String) throws {
        let bytes = try read(path)
        let start = [Float(-3), Float(1) / 7 - 3].flatMap { [UInt8].little($0.bitPattern) }
        let place = try #require((0...bytes.count - start.count).first { bytes[$0..<$0 + 8].elementsEqual(start) })
        try flip(path, at: place + 1)
    }
}

extension [UInt8] {
    /// The number's bytes, the least significant first.
    static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
    }
}
