import Testing

@testable import TensorFiles

/// The expectations are what Python 3.11's `json.loads` makes of the same text.
@Suite("JSON documents") struct JSONValueTests {
    private func read(_ text: String, keeping: Set<String>? = nil) throws -> Finding<JSONValue> {
        try JSONValue.read(MemorySource(Array(text.utf8)), keeping: keeping)
    }

    @Test(
        arguments: [
            ("1", .number("1")), (" [1, 2.5e3] ", .array([.number("1"), .number("2.5e3")])), ("{}", .object([:])),
            ("\"a\"", .string("a")), ("true", .bool(true)), ("false", .bool(false)), ("null", .null),
            ("NaN", .number("NaN")), ("[Infinity,-Infinity]", .array([.number("Infinity"), .number("-Infinity")])),
            ("-0", .number("-0")), (#"{"a":1,"a":2}"#, .object(["a": .number("2")])),
            (#"{"a":{"b":[null]}}"#, .object(["a": .object(["b": .array([.null])])])),
        ] as [(String, JSONValue)])
    func whatPythonReadsIsRead(text: String, value: JSONValue) throws {
        #expect(try read(text).value == value)
    }

    @Test(arguments: [
        "", " ", "{", "[1,", "{\"a\"", "{\"a\":}", "nan", "-NaN", "-Inf", "Nan", "tru", "truex", "01", "1.", "-",
        "[1]x", "'a'",
        "\u{feff}{}", "{a:1}", "[1,]", "\"a\nb\"", "infinity", "--Infinity", "INF",
    ])
    func whatPythonRefusesIsTorn(text: String) throws {
        #expect(Verdict(try read(text)) != .complete)
        #expect(try read(text).evidence != nil)
    }

    @Test func onlyWhatIsWantedIsKept() throws {
        let value = try read(#"{"a":1,"log":[{"a":NaN}],"b":"x"}"#, keeping: ["a", "b", "c"])
        #expect(value.value == .object(["a": .number("1"), "b": .string("x")]))
        #expect(try read(#"{"a":1,"log":[{"a":NaN}"#, keeping: ["a"]).evidence != nil)
        #expect(value.value?["a"]?.integer == 1)
        #expect(value.value?["b"]?.text == "x")
        #expect(value.value?["c"] == nil)
        #expect(value.value?["b"]?.integer == nil)
        #expect(value.value?["b"]?["x"] == nil)
        #expect(value.value?["b"]?.members == nil)
        #expect(value.value?["b"]?.elements == nil)
    }

    @Test func whatIsTooLargeIsUnsupported() throws {
        let long = String(repeating: "x", count: JSONValue.longestText + 1)
        #expect(try read("[\"\(long)\"]").value == .array([.tooLong]))
        let many = "[" + String(repeating: "1,", count: JSONValue.mostValues) + "1]"
        #expect(Verdict(try read(many)) == .unsupported)
        #expect(try read("{\"a\":1,\"b\":\(many)}", keeping: ["a"]).value == .object(["a": .number("1")]))
        #expect(Verdict(try read(String(repeating: "[", count: 100))) == .unsupported)
        // Python takes 4,300 digits.
        #expect(Verdict(try read(String(repeating: "7", count: 600))) == .unsupported)
    }
}
