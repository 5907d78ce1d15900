import Testing

@testable import TensorFiles

@Suite("JSON") struct JSONReaderTests {
    private func read<T>(_ text: String, _ body: (inout JSONReader) throws -> T) throws -> T {
        let source = MemorySource(Array(text.utf8))
        var reader = JSONReader(
            SourceCursor(source, limit: .max, structure: "the text"), limits: TensorFileLimits())
        return try body(&reader)
    }

    @Test(arguments: [
        (#""a\"\\\/\b\f\n\r\tz""#, "a\"\\/\u{8}\u{c}\n\r\tz"), (#""\u00e9\u20AC""#, "é€"), (#""\ud83d\ude00""#, "😀"),
        ("\"é€😀\"", "é€😀"), (#""""#, ""),
    ])
    func textsAreUnescaped(text: String, value: String) throws {
        #expect(try read(text) { try $0.readString(atMost: 100) } == value)
    }

    @Test(arguments: [#""\ud83d""#, #""\ud83dx""#, #""\ude00""#, #""\x""#, #""\u00g0""#, "\"a\nb\"", "\"a", "a"])
    func badTextsAreRefused(text: String) {
        #expect(throws: Stop.self) { try read(text) { try $0.readString(atMost: 100) } }
    }

    @Test func textThatIsNotUTF8IsRefused() {
        let source = MemorySource([0x22, 0xff, 0x22])
        var reader = JSONReader(SourceCursor(source, limit: .max, structure: "it"), limits: TensorFileLimits())
        #expect(throws: Stop.self) { try reader.readString(atMost: 100) }
    }

    @Test(arguments: ["0", "-0", "10", "1.5", "-1.5e+10", "2E-3", "18446744073709551615"])
    func numbersAreTaken(text: String) throws {
        #expect(try read(text) { try $0.readNumber() } == text)
    }

    @Test(arguments: ["01", "-", "1.", ".5", "1e", "+1", "1e+", "--1", "1.2.3", "0x1"])
    func badNumbersAreRefused(text: String) {
        #expect(throws: Stop.self) {
            try read(text) {
                _ = try $0.readNumber()
                try $0.expectEnd()
            }
        }
    }

    @Test(arguments: [
        (#"{"a":[1,{"b":[]},"c",true,false,null],"d":{}}"#, true), ("[]", true), ("{}", true), ("1", true),
        ("[1,]", false), ("[,1]", false), ("{\"a\"}", false), ("{\"a\":1,}", false), ("[1 2]", false), ("tru", false),
        ("nulll", false), ("[}", false), ("{]", false), ("", false), ("[[[]]", false),
    ])
    func valuesAreSkipped(text: String, isGood: Bool) throws {
        let skip: (inout JSONReader) throws -> Void = {
            try $0.skipValue()
            try $0.expectEnd()
        }
        if isGood {
            try read(text + " ", skip)
        } else {
            #expect(throws: Stop.self) { try read(text, skip) }
        }
    }
}
