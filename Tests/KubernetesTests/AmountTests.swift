import Kubernetes
import Testing

@Suite("Durations, quantities and YAML")
struct AmountTests {
    @Test(
        "A duration is read as Go reads it",
        arguments: [
            ("4h0m0s", 14_400_000_000_000), ("0", 0), ("0s", 0), ("5s", 5_000_000_000), ("1.5h", 5_400_000_000_000),
            ("-1.5h", -5_400_000_000_000), ("+5s", 5_000_000_000), ("300ms", 300_000_000), (".5s", 500_000_000),
            ("1.s", 1_000_000_000), ("1h15m30.918273645s", 4_530_918_273_645), ("1us", 1000), ("1\u{b5}s", 1000),
            ("1\u{3bc}s", 1000), ("1ns", 1), ("0.3333333333333333333h", 1_200_000_000_000),
            ("0.9223372036854775807h", 3_320_413_933_267),
            ("9223372036854775807ns", Int64.max), ("-9223372036854775808ns", Int64.min), ("-0", 0),
            ("0.100000000000000000000h", 360_000_000_000), ("720h0m0s", 2_592_000_000_000_000),
        ])
    func durations(text: String, nanoseconds: Int64) {
        #expect(GoDuration(text)?.nanoseconds == nanoseconds)
    }

    @Test(
        "What is no duration is refused",
        arguments: [
            "", "3", "-", "s", ".", "-.", ".s", "+.s", "1d", "\u{660}s", "1h 5m", " 1s", "1s ", "--1s", "1e3s",
            "1.1.1s",
            "9223372036854775808ns", "-9223372036854775809ns", "9223372036854775.808us", "3000000h", "1H",
        ])
    func noDurations(text: String) { #expect(GoDuration(text) == nil) }

    @Test(
        "A duration is written as Go writes it",
        arguments: [
            (0, "0s"), (1, "1ns"), (1100, "1.1\u{b5}s"), (2_200_000, "2.2ms"), (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"), (245_001_000_000, "4m5.001s"), (18_367_001_000_000, "5h6m7.001s"),
            (14_400_000_000_000, "4h0m0s"), (-1_500_000_000, "-1.5s"), (Int64.min, "-2562047h47m16.854775808s"),
        ])
    func written(nanoseconds: Int64, text: String) {
        #expect(GoDuration(nanoseconds: nanoseconds).description == text)
    }

    @Test("Any duration that is written is read as itself", arguments: 0..<50)
    func durationRoundTrip(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        for _ in 0..<200 {
            let bits = Int.random(in: 1...63, using: &random)
            let value = GoDuration(nanoseconds: Int64.random(in: .min ... .max, using: &random) >> Int64(63 - bits))
            #expect(GoDuration(value.description) == value)
        }
    }

    @Test("Random text is a duration or none, never fatal", arguments: 0..<50)
    func durationFuzz(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let pieces = [
            "1", "0", "9223372036854775807", ".", "h", "m", "s", "ms", "\u{b5}s", "-", "+", " ", "é", "99999999",
        ]
        for _ in 0..<200 {
            let text = (0..<Int.random(in: 0..<8, using: &random)).compactMap { _ in
                pieces.randomElement(using: &random)
            }
            .joined()
            guard let value = GoDuration(text) else { continue }
            #expect(GoDuration(value.description) == value, "\(text)")
        }
    }

    @Test(
        "Quantities are as large as the API has them",
        arguments: [
            ("1Ki", "1024"), ("1k", "1000"), ("1.5Gi", "1610612736"), ("500m", "0.5"), ("1e3", "1000"), ("1E3", "1000"),
            ("1E", "1000000000000000000"), ("12.50", "12.5"), (".5", "500m"), ("1.", "1"), ("+1", "1"), ("1n", "1e-9"),
            ("0.1n", "1n"), ("0", "0Gi"), ("9223372036854775807", "9999999999999999999999"),
            ("10Ei", "9223372036854775807"),
            ("1e4000", "9223372036854775807"), ("0e4000", "0"), ("1e-4000", "1n"), ("-1Ki", "-1024"), ("1024Mi", "1Gi"),
            ("0.0000000001", "1n"), ("1u", "1000n"),
        ])
    func quantities(left: String, right: String) throws {
        #expect(try #require(Quantity(left)) == #require(Quantity(right)))
    }

    @Test(
        "Quantities are ordered by size",
        arguments: [("1G", "1Gi"), ("999m", "1"), ("-1", "0"), ("1n", "2n"), ("9Ti", "10Ti")])
    func order(less: String, more: String) throws {
        #expect(try #require(Quantity(less)) < #require(Quantity(more)))
    }

    @Test(
        "What is no quantity is refused",
        arguments: ["", "Gi", ".", "1 Gi", "1gi", "1KB", "1e", "1e1.5", "1e99999", "--1", "1Gi ", "0x10", "\u{661}"])
    func noQuantities(text: String) { #expect(Quantity(text) == nil) }

    @Test("Plain scalars are what their schema makes of them")
    func yamlSchemas() throws {
        let text = """
            # comment
            a: 1.50
            b: "1"
            c: [yes, true, ~, 0x10, 1e3, -0, 1_000]
            e: &x {f: 'g'}
            h: *x
            """
        #expect(
            try JSONValue(yaml: text, schema: .core).description
                == #"{"a":1.50,"b":"1","c":["yes",true,null,"0x10",1e3,-0,"1_000"],"e":{"f":"g"},"h":{"f":"g"}}"#)
        let kubernetes = try JSONValue(yaml: text)
        #expect(kubernetes["c", 0] == true && kubernetes["c", 3] == 16 && kubernetes["b"] == "1")
        #expect(try JSONValue(yaml: "", schema: .core).isNull)
    }

    @Test(
        "What is no YAML, or too much of it, is refused on one line without the text itself",
        arguments: [
            "a: [", "a: 1\na: 2", "a: *nowhere", "--- 1\n--- 2", "? {a: 1}\n: secret-word", "\tsecret-word: 1",
            "a: b: secret-word",
            "\"secret-word", String(repeating: "[", count: 5000),
            String(repeating: "[", count: 300) + String(repeating: "]", count: 300),
            "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]",
        ])
    func noYAML(text: String) {
        let error = #expect(throws: YAMLError.self) {
            try JSONValue(yaml: text, schema: .core, limits: .init(maximumBytes: 1 << 20, maximumValues: 10_000))
        }
        #expect(error?.message.contains("\n") == false && error?.message.contains("secret-word") == false)
    }

    @Test("Damaged YAML is refused or read, never fatal", arguments: 0..<30)
    func yamlFuzz(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let whole = Array(
            "version: v1\nvolumePolicies:\n- conditions: {capacity: \"0,1Gi\"}\n  action: {type: skip}\n".utf8)
        for _ in 0..<100 {
            var text = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<text.count, using: &random)
                if Bool.random(using: &random) {
                    text.insert(Array("{}[]&*!|>'\":-#%@\n\t ,?".utf8).randomElement(using: &random) ?? 0x20, at: place)
                } else {
                    text.remove(at: place)
                }
            }
            _ = try? JSONValue(yaml: String(decoding: text, as: UTF8.self))
        }
    }
}
