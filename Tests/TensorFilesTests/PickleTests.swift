import Testing

@testable import TensorFiles

@Suite("Inert pickles") struct PickleTests {
    private func read(_ bytes: [UInt8], limits: PickleLimits = PickleLimits()) throws -> PickleGraph {
        var cursor = SourceCursor(MemorySource(bytes), limit: .max, structure: "the pickle")
        return try PickleReader.read(&cursor, limits: limits)
    }

    private func verdict(_ bytes: [UInt8], limits: PickleLimits = PickleLimits()) throws -> Verdict {
        Verdict(try Finding { try read(bytes, limits: limits) })
    }

    /// The whole numbers among a container's elements.
    private func numbers(_ value: PickleValue?, _ graph: PickleGraph) -> [Int64]? {
        graph.elements(value)?.compactMap { graph.integer($0) }
    }

    @Test(arguments: 0...5) func everyProtocolGivesTheSameValues(version: Int) throws {
        let graph = try read(try Samples.bytes("pickle/protocol\(version).pkl"))
        let root = graph.root
        let integers: [Int64] = [
            0, 1, 255, 256, 65535, 65536, -1, -300, 2_147_483_647, 2_147_483_648, -(1 << 40), .max, .min,
        ]
        #expect(numbers(graph.value("integers", of: root), graph) == integers)
        #expect(graph.value("huge", of: root) == .opaque)
        #expect(graph.elements(graph.value("floats", of: root))?.map { graph.float($0) } == [0.5, -2.25, 1e300])
        #expect(graph.value("none", of: root) == PickleValue.none)
        #expect(graph.elements(graph.value("bools", of: root)).map(Array.init) == [.bool(true), .bool(false)])
        #expect(graph.text(graph.value("text", of: root)) == "plain")
        #expect(graph.value("long", of: root) == .opaque)
        let tuples = try #require(graph.elements(graph.value("tuples", of: root)))
        let lengths: [[Int64]?] = [[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]
        #expect(tuples.map { numbers($0, graph) } == lengths)
        let ordered = try #require(graph.value("ordered", of: root))
        #expect(graph.integer(graph.value("b", of: ordered)) == 2)
        #expect(graph.global(graph.object(ordered)?.callable) == PickleGlobal("collections", "OrderedDict"))
        let fraction = try #require(graph.object(graph.value("fraction", of: root)))
        #expect(graph.global(fraction.callable)?.name == "Fraction")
        let cycle = try #require(graph.value("cycle", of: root))
        #expect(graph.elements(cycle)?.last == cycle)
        let shared = try #require(graph.elements(graph.value("shared", of: root)))
        #expect(shared.first == shared.last)
        let many = try #require(graph.pairs(graph.value("many", of: root)))
        #expect(many.count == 2200)
        #expect(numbers(graph.value("many", of: root), graph) == nil)
        #expect(many.suffix(2) == [.integer(1099), .integer(1099 % 7)])
        #expect(graph.pairs(root)?.dropLast().last == .integer(7))
    }

    @Test func aCallIsNamedAndNotMade() throws {
        let graph = try read(Array("cos\nsystem\n(S'echo'\ntR.".utf8))
        let call = try #require(graph.object(graph.root))
        #expect(graph.global(call.callable) == PickleGlobal("os", "system"))
        #expect(graph.elements(call.arguments)?.map { graph.text($0) } == ["echo"])
        let instance = try read(Array("(ios\nsystem\n.".utf8))
        #expect(instance.global(instance.object(instance.root)?.callable)?.name == "system")
        let object = try read(Array("(cos\nsystem\nI1\no.".utf8))
        #expect(object.elements(object.object(object.root)?.arguments).map(Array.init) == [.integer(1)])
    }

    @Test(arguments: [
        ("\u{80}", Verdict.truncated), ("", .truncated), (".", .damaged), ("0.", .damaged), ("t.", .damaged),
        ("N", .truncated),
        ("(.", .damaged), ("N(.", .damaged), ("(NN.", .complete), ("N(0.", .complete), ("]NNu.", .damaged),
        ("}(Nu.", .damaged), ("}(NNu.", .complete), ("N(Ne.", .damaged), ("](Ne.", .complete), ("a.", .damaged),
        ("]a.", .damaged), ("]Na.", .complete), ("h\u{1}.", .damaged), ("g7\n.", .damaged), ("gx\n.", .damaged),
        ("Np5\ng5\n.", .complete), ("R.", .damaged), ("NR.", .damaged), ("NNR.", .complete), ("b.", .damaged),
        ("Nb.", .damaged), ("NNb.", .complete), ("(o.", .damaged), ("(Nd.", .damaged), ("q\u{0}.", .damaged),
        ("2.", .damaged), ("N2.", .complete), ("?.", .unsupported), ("\u{7f}.", .unsupported), ("N1.", .damaged),
        ("(N1N.", .complete), ("I12\n.", .complete), ("Ix\n.", .complete), ("L5L\n.", .complete), ("Fx\n.", .complete),
        ("Pid\n.", .complete), ("NQ.", .complete), ("Q.", .damaged), ("S'a", .truncated),
        ("cos\nsystem\n)R](Nea.", .complete), ("cos\nsystem\n)R(NNuNa.", .unsupported),
    ])
    func opcodesTakeWhatIsThere(text: String, verdict: Verdict) throws {
        // The characters are the bytes.
        #expect(try self.verdict(text.unicodeScalars.map { UInt8($0.value) }) == verdict)
    }

    @Test(arguments: [0x82, 0x83, 0x84, 0x99, 0xff]) func unknownOpcodesAreRefused(code: UInt8) throws {
        #expect(try verdict([code, 0, 0, 0, 0, UInt8(ascii: ".")]) == .unsupported)
    }

    @Test func lengthsBeyondTheFileEndTheReading() throws {
        for code: UInt8 in [0x8d, 0x8e, 0x96] {
            #expect(try verdict([code] + .little(UInt64.max) + [UInt8](repeating: 0x2e, count: 50)) == .truncated)
        }
        for code: UInt8 in [0x8b, UInt8(ascii: "X"), UInt8(ascii: "B"), UInt8(ascii: "T")] {
            #expect(try verdict([code] + .little(UInt32.max) + [UInt8](repeating: 0x2e, count: 50)) == .truncated)
        }
    }

    @Test func textThatIsNotUTF8IsRefused() throws {
        #expect(try verdict([0x8c, 1, 0xff, UInt8(ascii: ".")]) == .unsupported)
        #expect(try verdict([UInt8(ascii: "c"), 0xff, 0x0a, 0x41, 0x0a, UInt8(ascii: ".")]) == .unsupported)
    }

    @Test(.timeLimit(.minutes(1))) func bombsStopAtTheLimits() throws {
        var limits = PickleLimits()
        limits.stack = 10_000
        limits.values = 10_000
        limits.memo = 1000
        limits.containers = 1000
        limits.objects = 1000
        limits.textBytes = 1000
        limits.opcodes = 50_000
        let stop: [UInt8] = [UInt8(ascii: ".")]
        func many(_ text: String, _ count: Int) -> [UInt8] { Array(String(repeating: text, count: count).utf8) + stop }
        #expect(try verdict(many("N", 9000), limits: limits) == .complete)
        #expect(try verdict(many("N", 11_000), limits: limits) == .unsupported)
        #expect(try verdict(many("(", 11_000), limits: limits) == .unsupported)
        #expect(try verdict(many("]", 1100), limits: limits) == .unsupported)
        #expect(try verdict(many("NN0", 40_000), limits: limits) == .unsupported)
        #expect(try verdict(many("N)R", 1100), limits: limits) == .unsupported)
        #expect(try verdict(many("NQ", 1100), limits: limits) == .unsupported)
        #expect(try verdict(many("S'0123456789'\n", 101), limits: limits) == .unsupported)
        #expect(try verdict(Array("]".utf8) + many("Na", 20_000), limits: limits) == .unsupported)
        #expect(try verdict(many("F1\n0", 1100), limits: limits) == .unsupported)
        #expect(try verdict(many("L4294967296L\n0", 1100), limits: limits) == .unsupported)
        #expect(try verdict(many("S''\n0", 1100), limits: limits) == .unsupported)
        // Empty tuples are all one.
        #expect(try verdict(Array("N".utf8) + many(")0", 1100), limits: limits) == .complete)
        let memo = (0..<1100).flatMap { [UInt8(ascii: "N"), UInt8(ascii: "r")] + .little(UInt32.max - UInt32($0)) }
        #expect(try verdict(memo + stop, limits: limits) == .unsupported)
    }

    @Test(.timeLimit(.minutes(1))) func sharedPartsAreEnteredOnce() throws {
        // A list of two times the list before it, sixty times over: 2^60 leaves.
        var bytes = Array("]".utf8) + [0x94]
        for _ in 0..<60 {
            bytes += Array("]".utf8) + [0x94] + Array("(h".utf8) + [UInt8(0)] + Array("h".utf8) + [0] + Array("e".utf8)
        }
        var chained: [UInt8] = [UInt8(ascii: "]"), 0x94]
        for level in 0..<60 {
            chained += [UInt8(ascii: "]"), 0x94, UInt8(ascii: "("), UInt8(ascii: "h"), UInt8(level)]
            chained += [UInt8(ascii: "h"), UInt8(level), UInt8(ascii: "e")]
        }
        for pickle in [bytes, chained] {
            let graph = try read(pickle + [UInt8(ascii: ".")])
            #expect(TorchTensorNames.find(in: graph, limits: TensorFileLimits()).isEmpty)
        }
        // A parameter of a parameter of a parameter …: calls nested deeper than a thread's stack.
        let deep =
            Array(String(repeating: "ctorch._utils\n_rebuild_parameter\n", count: 100_000).utf8)
            + Array("N".utf8) + [UInt8](repeating: 0, count: 0)
            + (0..<100_000).flatMap { _ in [0x85, UInt8(ascii: "R")] } + [UInt8(ascii: ".")]
        #expect(TorchTensorNames.find(in: try read(deep), limits: TensorFileLimits()).isEmpty)
    }

    @Test(.timeLimit(.minutes(1))) func fullStacksAreNotCopied() throws {
        // Half a million values below a mark, and half a million empty tuples made above it.
        let bytes =
            [UInt8](repeating: UInt8(ascii: "N"), count: 500_000)
            + (0..<500_000).flatMap { _ in Array("(t0".utf8) } + [UInt8(ascii: ".")]
        #expect(try verdict(bytes) == .complete)
    }

    @Test func containersGrowInAnyOrder() throws {
        // Two lists in turn, so that neither stays at the end of the pool.
        var bytes: [UInt8] = [UInt8(ascii: "]"), 0x94, UInt8(ascii: "]"), 0x94]
        for number in 0..<200 {
            bytes += [UInt8(ascii: "h"), UInt8(number % 2), UInt8(ascii: "K"), UInt8(number), UInt8(ascii: "a")]
            bytes += [UInt8(ascii: "0")]
        }
        bytes += [0x86, UInt8(ascii: ".")]
        let graph = try read(bytes)
        let lists = try #require(graph.elements(graph.root))
        let even = stride(from: Int64(0), to: 200, by: 2)
        #expect(numbers(lists.first, graph) == Array(even))
        #expect(numbers(lists.last, graph) == even.map { $0 + 1 })
    }
}
