import Kubernetes
import Testing

@Suite("JSON trees")
struct JSONTests {
    private func text(_ value: JSONValue) -> String { String(decoding: value.serialized(), as: UTF8.self) }

    @Test(
        "A number keeps its spelling",
        arguments: [
            "1", "1.0", "1e3", "1E+3", "9007199254740993", "-0", "0", "0.10", "-1.5e-300", "1e400",
            "123456789012345678901234567890",
        ])
    func numbers(spelling: String) throws {
        #expect(try text(JSONValue(parsing: "[\(spelling)]")) == "[\(spelling)]")
        #expect(JSONNumber(spelling)?.text == spelling)
    }

    @Test("Numbers are equal when they are spelled alike, and whole ones are read exactly")
    func numberValues() throws {
        #expect(try JSONValue(parsing: "1") == 1)
        #expect(try JSONValue(parsing: "1.0") != 1)
        #expect(try JSONValue(parsing: "9007199254740993").int64 == 9_007_199_254_740_993)
        #expect(try JSONValue(parsing: "9223372036854775808").int64 == nil)
        #expect(try JSONValue(parsing: "1.0").int64 == nil)
        #expect(try JSONValue(parsing: "2.5e1").number?.double == 25)
    }

    @Test("What Go wrote comes back byte for byte")
    func goText() throws {
        // encoding/json of Go 1.22: map keys sorted, these characters escaped, these not.
        let written =
            #"{"":"","a":"\u003cb\u003e \u0026 \u2028\u2029 \"q\" \\ / \b\f\n\r\t \u0000\u001f \u007f","#
            .replacing(#"\u007f"#, with: "\u{7f}")
            + #""b":[],"c":{},"d":[null,true,false,-1,1.5e-7],"é":"é😀﷐","z":{"y":[[[{}]]]}}"#
        #expect(try text(JSONValue(parsing: written)) == written)
        #expect(try text(JSONValue(parsing: "\n { \"a\" : [ 1 , 2 ] }\t\r\n")) == #"{"a":[1,2]}"#)
        #expect(try text(JSONValue(parsing: #""\/\u00e9\ud83d\ude00<""#)) == #""/é😀\u003c""#)
        let value = try JSONValue(parsing: #""<&>\u2028""#)
        #expect(String(decoding: value.serialized(escapingHTML: false), as: UTF8.self) == #""<&>\u2028""#)
    }

    @Test(
        "Malformed text is refused with the offset",
        arguments: [
            ("", 0), (" ", 1), ("{", 1), ("[1,]", 3), ("[1 2]", 3), ("{\"a\"}", 4), ("{\"a\":}", 5), ("{\"a\":1,}", 7),
            ("{a:1}", 1), ("[01]", 2), ("[1.]", 3), ("[-]", 2), ("[1e]", 3), ("[+1]", 1), ("[.5]", 1), ("nul", 0),
            ("truE", 0), ("\"a", 2), ("\"\\x\"", 1), ("\"\\u12\"", 5), ("\"\\ud800\"", 1), ("\"\\ud800\\u0041\"", 1),
            ("\"\\udc00\"", 1), ("\"a\nb\"", 2), ("1 2", 2), ("[1]]", 3), ("[}", 1), ("{]", 1), ("[1}", 2), ("'a'", 0),
            ("{\"a\":1,\"b\":2,\"a\":3}", 0), ("[{\"é\":1,\"é\":1}]", 1), ("NaN", 0), ("\u{feff}1", 0), ("\"\\", 2),
        ])
    func malformed(text: String, offset: Int) {
        let error = #expect(throws: JSONError.self) { try JSONValue(parsing: text) }
        #expect(error?.offset == offset, "\(text): \(error.map(\.description) ?? "")")
    }

    @Test("Bytes that are no UTF-8 are refused where they stand")
    func invalidUTF8() {
        let error = #expect(throws: JSONError.self) {
            try JSONValue(parsing: Array("[\"aé".utf8) + [0xc3, 0x22, 0x5d])
        }
        #expect(error?.offset == 5)
        #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22, 0xed, 0xa0, 0x80, 0x22]) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22, 0xff, 0x22]) }
    }

    @Test("Keys that Swift takes for the same text are two keys")
    func canonicalEquivalents() throws {
        let written = "{\"e\u{301}\":1,\"\u{e9}\":2}"
        let value = try JSONValue(parsing: written)
        #expect(value["\u{e9}"]?.int64 == 2)
        #expect(value["e\u{301}"]?.int64 == 1)
        #expect(text(value) == written)
        #expect(JSONValue.string("\u{e9}") != JSONValue.string("e\u{301}"))
        let unordered = try JSONValue(parsing: "{\"\u{e9}\":2,\"e\u{301}\":1}")
        #expect(unordered == value)
        #expect(unordered["\u{e9}"]?.int64 == 2)
    }

    @Test("Limits hold and are named")
    func limits() throws {
        let deep = String(repeating: "[", count: 257) + String(repeating: "]", count: 257)
        var error = #expect(throws: JSONError.self) { try JSONValue(parsing: deep) }
        #expect(error?.offset == 256 && error?.message.contains("256") == true)
        #expect(throws: Never.self) { try JSONValue(parsing: String(deep.dropFirst().dropLast())) }
        error = #expect(throws: JSONError.self) {
            try JSONValue(parsing: "[1,2,3]", limits: .init(maximumValues: 3))
        }
        #expect(error?.message == "more than 3 values")
        #expect(throws: Never.self) { try JSONValue(parsing: "[1,2]", limits: .init(maximumValues: 3)) }
        error = #expect(throws: JSONError.self) { try JSONValue(parsing: "[1,2]", limits: .init(maximumBytes: 4)) }
        #expect(error?.offset == 4)
        // A million brackets cost neither stack nor time.
        #expect(throws: JSONError.self) {
            try JSONValue(parsing: [UInt8](repeating: UInt8(ascii: "["), count: 1 << 20))
        }
    }

    @Test("A value with its key takes 40 bytes")
    func size() {
        #expect(MemoryLayout<JSONValue>.stride == 24)
        #expect(MemoryLayout<JSONObject.Member>.stride == 40)
    }

    @Test("An object in order stays in order, another one gets new members at its end")
    func order() throws {
        var value = try JSONValue(parsing: #"{"a":1,"c":2}"#)
        try value.set(3, at: ["b"])
        #expect(text(value) == #"{"a":1,"b":3,"c":2}"#)
        value = try JSONValue(parsing: #"{"c":1,"a":2}"#)
        try value.set(3, at: ["b"])
        try value.set(4, at: ["c"])
        #expect(text(value) == #"{"c":4,"a":2,"b":3}"#)
        #expect(try value == JSONValue(parsing: #"{"a":2,"b":3,"c":4}"#))
        #expect(try value != JSONValue(parsing: #"{"a":2,"b":3,"d":4}"#))
    }

    @Test("Paths read, set, make and remove")
    func paths() throws {
        var value = try JSONValue(parsing: #"{"spec":{"containers":[{"name":"a"},{"name":"b"}]},"n":null}"#)
        #expect(value["spec", "containers", 1, "name"]?.string == "b")
        #expect(value["spec", "containers", 2, "name"] == nil)
        #expect(value["spec", "containers", "name"] == nil)
        #expect(value["spec", 0] == nil)
        try value.set("c", at: ["spec", "containers", 1, "name"])
        try value.set(["name": "d"], at: ["spec", "containers", 2])
        try value.set(true, at: ["n", "x", "a.b/c"])
        #expect(
            text(value)
                == #"{"spec":{"containers":[{"name":"a"},{"name":"c"},{"name":"d"}]},"n":{"x":{"a.b/c":true}}}"#)
        #expect(value.remove(at: ["spec", "containers", 0])?["name"]?.string == "a")
        #expect(value.remove(at: ["spec", "containers", 7]) == nil)
        #expect(value.remove(at: ["n", "x", "a.b/c"]) == true)
        #expect(text(value) == #"{"spec":{"containers":[{"name":"c"},{"name":"d"}]},"n":{"x":{}}}"#)
        let before = value
        for path: JSONPath in [
            ["spec", "containers", "x"], ["spec", "containers", 3], ["spec", "containers", -1],
            ["spec", "containers", 0, "name", "x"], ["spec", 0], ["new", 0],
        ] {
            let error = #expect(throws: JSONPathError.self) { try value.set(1, at: path) }
            #expect(error?.message.contains(path.description) == true)
            #expect(value == before)
        }
        let path: JSONPath = ["metadata", "labels", "a.b/c~", 3, "x-y"]
        #expect(path.description == #"metadata.labels["a.b/c~"][3].x-y"#)
        #expect(path.pointer == "/metadata/labels/a.b~1c~0/3/x-y")
    }

    // Cases of RFC 7386, appendix A.
    @Test(
        "A merge patch does what its specification says",
        arguments: [
            (#"{"a":"b"}"#, #"{"a":"c"}"#, #"{"a":"c"}"#), (#"{"a":"b"}"#, #"{"b":"c"}"#, #"{"a":"b","b":"c"}"#),
            (#"{"a":"b"}"#, #"{"a":null}"#, #"{}"#), (#"{"a":"b","b":"c"}"#, #"{"a":null}"#, #"{"b":"c"}"#),
            (#"{"a":["b"]}"#, #"{"a":"c"}"#, #"{"a":"c"}"#), (#"{"a":"c"}"#, #"{"a":["b"]}"#, #"{"a":["b"]}"#),
            (#"{"a":{"b":"c"}}"#, #"{"a":{"b":"d","c":null}}"#, #"{"a":{"b":"d"}}"#),
            (#"{"a":[{"b":"c"}]}"#, #"{"a":[1]}"#, #"{"a":[1]}"#), (#"["a","b"]"#, #"["c","d"]"#, #"["c","d"]"#),
            (#"{"a":"b"}"#, #"["c"]"#, #"["c"]"#), (#"{"a":"foo"}"#, #"null"#, #"null"#),
            (#"{"a":"foo"}"#, #""bar""#, #""bar""#), (#"{"e":null}"#, #"{"a":1}"#, #"{"e":null,"a":1}"#),
            (#"[1,2]"#, #"{"a":"b","c":null}"#, #"{"a":"b"}"#),
            (#"{}"#, #"{"a":{"bb":{"ccc":null}}}"#, #"{"a":{"bb":{}}}"#),
        ])
    func mergePatch(source: String, patch: String, result: String) throws {
        let applied = try MergePatch.apply(JSONValue(parsing: patch), to: JSONValue(parsing: source))
        #expect(try applied == JSONValue(parsing: result))
    }

    @Test("A merge patch that cannot say what changed is refused")
    func inexpressiblePatch() throws {
        let before: JSONValue = ["a": 1, "b": ["c": .null]]
        #expect(try MergePatch.create(from: before, to: ["a": 1, "b": ["c": .null]]) == [:])
        #expect(
            try MergePatch.create(from: before, to: ["b": ["c": .null], "d": [.null]]) == ["a": .null, "d": [.null]])
        for after: JSONValue in [["a": .null], ["a": ["x": .null]], ["n": ["x": ["y": .null]]]] {
            let error = #expect(throws: JSONPathError.self) { try MergePatch.create(from: before, to: after) }
            #expect(error?.message.contains("null") == true)
        }
    }
}
