import Testing

@testable import TensorFiles

@Suite("safetensors") struct SafetensorsTests {
    /// A file with this header and so many bytes behind it.
    private func file(_ header: String, data: Int) -> MemorySource {
        MemorySource(.little(UInt64(header.utf8.count)) + Array(header.utf8) + [UInt8](repeating: 7, count: data))
    }

    @Test func everyTensorOfARealFileHasItsPlace() throws {
        let source = try Samples.source("safetensors/mixed.safetensors")
        let layout = try SafetensorsFile.read(source).get()
        layout.checkPromises()
        #expect(layout.format == .safetensors)
        #expect(layout.regions.count == 10)
        #expect(layout.metadata == [0..<720])
        #expect(layout.attributes == ["format": "pt", "note": "a \"quoted\" \\ name, é and a\nnewline"])
        let embedding = try layout.region("embedding.weight")
        #expect(embedding.dtype == .bf16 && embedding.shape == [8, 6] && embedding.range == 816..<912)
        let ids = try layout.region("ids")
        #expect(ids.dtype == .i64)
        #expect(
            source.bytes[Int(ids.range.lowerBound)..<Int(ids.range.upperBound)].elementsEqual(
                (0..<5).flatMap { [UInt8].little(Int64($0)) }))
        #expect(try layout.region("scale").shape == [])
        #expect(try layout.region("wave").dtype == .c64)
        #expect(try layout.region("f8").dtype == .f8e4m3)
        #expect(try layout.region("none").range.isEmpty)
        #expect(layout.parameters == 48 + 36 + 6 + 1 + 5 + 3 + 0 + 7 + 8 + 3)
        let total = try #require(layout.totals.first)
        #expect(total == TensorLayout.Total(dtype: .bf16, tensors: 1, elements: 48, bytes: 96))
    }

    @Test func aFileWithoutTensorsIsWhole() throws {
        let layout = try SafetensorsFile.read(try Samples.source("safetensors/empty.safetensors")).get()
        #expect(layout.regions.isEmpty && layout.metadata == [0..<16])
    }

    @Test func noPrefixIsComplete() throws {
        let bytes = try Samples.bytes("safetensors/mixed.safetensors")
        for count in 0..<bytes.count {
            let finding = try SafetensorsFile.read(MemorySource(Array(bytes.prefix(count))))
            #expect(Verdict(finding) == (count < 9 ? .notThisFormat : .truncated), "\(count) bytes")
            if count >= 720 { #expect(finding.evidence?.expectedSize == 1002) }
        }
    }

    @Test func aByteTooManyIsDamage() throws {
        let bytes = try Samples.bytes("safetensors/mixed.safetensors")
        #expect(Verdict(try SafetensorsFile.read(MemorySource(bytes + [0]))) == .damaged)
    }

    private static func tensor(_ name: String, _ type: String, _ shape: String, _ begin: String, _ end: String)
        -> String
    {
        "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":[\(shape)],\"data_offsets\":[\(begin),\(end)]}"
    }

    @Test(arguments: [
        (#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 4, Verdict.complete),
        // Unknown fields and white space are no trouble to the library either.
        (#"{ "a" : {"dtype":"U8","x":[{"y":[1,{}]}],"shape":[4],"data_offsets":[0,4]} }  "#, 4, .complete),
        ("{\(tensor("a", "U8", "4", "0", "4")),\(tensor("b", "I32", "2", "4", "12"))}", 12, .complete),
        // The order of the header is not that of the data.
        ("{\(tensor("b", "I32", "2", "4", "12")),\(tensor("a", "U8", "4", "0", "4"))}", 12, .complete),
        ("{\(tensor("a", "U8", "4", "0", "4")),\(tensor("b", "U8", "4", "3", "7"))}", 7, .damaged),
        ("{\(tensor("a", "U8", "4", "0", "4")),\(tensor("b", "U8", "4", "5", "9"))}", 9, .damaged),
        ("{\(tensor("a", "U8", "4", "1", "5"))}", 5, .damaged),
        ("{\(tensor("a", "U8", "4", "4", "0"))}", 4, .damaged),
        ("{\(tensor("a", "U8", "5", "0", "4"))}", 4, .damaged),
        ("{\(tensor("a", "I16", "4", "0", "4"))}", 4, .damaged),
        ("{\(tensor("a", "F4", "4", "0", "2"))}", 2, .complete),
        ("{\(tensor("a", "F4", "3", "0", "2"))}", 2, .damaged),
        ("{\(tensor("a", "F6_E2M3", "4", "0", "3"))}", 3, .complete),
        ("{\(tensor("a", "U8", "4", "0", "18446744073709551615"))}", 4, .damaged),
        ("{\(tensor("a", "U8", "18446744073709551615", "0", "18446744073709551615"))}", 4, .damaged),
        ("{\(tensor("a", "U8", "4294967296,4294967296", "0", "0"))}", 0, .damaged),
        ("{\(tensor("a", "U8", "0,18446744073709551615,9", "0", "0"))}", 0, .complete),
        ("{\(tensor("a", "U8", "-4", "0", "4"))}", 4, .damaged),
        ("{\(tensor("a", "U8", "4.0", "0", "4"))}", 4, .damaged),
        ("{\(tensor("a", "X8", "4", "0", "4"))}", 4, .unsupported),
        ("{\(tensor("a", "U8", "4", "0", "4")),\(tensor("a", "U8", "4", "4", "8"))}", 8, .unsupported),
        (#"{"a":{"dtype":"U8","shape":[4]}}"#, 4, .damaged),
        (#"{"a":[]}"#, 4, .damaged),
        (#"{"__metadata__":{"a":1}}"#, 0, .damaged),
        (#"{"__metadata__":{"a":"b"}}"#, 0, .complete),
        (#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"#, 4, .damaged),
        (#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}x"#, 4, .damaged),
        (#"{"a":{"dtype":"U8","shape":[4,],"data_offsets":[0,4]}}"#, 4, .damaged),
    ])
    func aHeaderIsHeldAgainstTheFile(header: String, data: Int, verdict: Verdict) throws {
        let finding = try SafetensorsFile.read(file(header, data: data))
        #expect(Verdict(finding) == verdict, "\(finding.reason ?? "complete")")
    }

    @Test func aHeaderBombCostsNothing() throws {
        // The header's end would be beyond the file.
        let short = MemorySource(.little(UInt64(99_999_999)) + Array("{".utf8))
        #expect(Verdict(try SafetensorsFile.read(short)) == .truncated)
        let long = MemorySource(.little(UInt64(100_000_001)) + Array("{".utf8))
        #expect(Verdict(try SafetensorsFile.read(long)) == .notThisFormat)
        // Brackets without end.
        let deep = file("{\"a\":" + String(repeating: "[", count: 3_000_000), data: 0)
        #expect(Verdict(try SafetensorsFile.read(deep)) == .damaged)
        let nested = file(#"{"a":{"x":"# + String(repeating: "[", count: 3_000_000), data: 0)
        #expect(Verdict(try SafetensorsFile.read(nested)) == .unsupported)
        #expect(nested.bytesRead < 20_000)
    }

    @Test func aLongMetadataTextIsPassedOver() throws {
        let text = String(repeating: "configuration ", count: 100_000)
        let layout = try SafetensorsFile.read(file("{\"__metadata__\":{\"a\":\"\(text)\",\"b\":\"c\"}}", data: 0)).get()
        #expect(layout.attributes == ["b": "c"])
    }

    @Test func aMessageIsOneLineWhateverTheNames() throws {
        let name = #"\n\u001b[31m\u2028"# + String(repeating: "n", count: 3000)
        let finding = try SafetensorsFile.read(file("{\(Self.tensor(name, "U8", "4", "1", "5"))}", data: 5))
        let reason = try #require(finding.reason)
        #expect(reason.contains("[31m") && reason.unicodeScalars.count <= 400)
        #expect(!reason.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x2028 })
    }

    @Test func limitsEndTheParse() throws {
        var limits = TensorFileLimits()
        limits.tensors = 9
        let source = try Samples.source("safetensors/mixed.safetensors")
        #expect(Verdict(try SafetensorsFile.read(source, limits: limits)) == .unsupported)
        limits.tensors = 10
        #expect(Verdict(try SafetensorsFile.read(source, limits: limits)) == .complete)
        limits.headerBytes = 711
        #expect(Verdict(try SafetensorsFile.read(source, limits: limits)) == .unsupported)
    }
}
