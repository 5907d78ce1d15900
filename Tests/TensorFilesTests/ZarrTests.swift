import Testing

@testable import TensorFiles

@Suite("zarr headers") struct ZarrTests {
    @Test func realHeadersAreRead() throws {
        for (name, version) in [("v2/.zarray", 2), ("v3/zarr.json", 3)] {
            let array = try ZarrArray.read(try Samples.source("zarr/\(name)")).get()
            #expect(array.version == version && array.shape == [10, 6] && array.chunks == [4, 6])
            #expect(array.dtype == .f32 && !array.isEncoded)
            #expect(array.chunkCount == 3 && array.chunkBytes == 96)
        }
        let compressed = try ZarrArray.read(try Samples.source("zarr/v3_compressed/zarr.json")).get()
        #expect(compressed.dtype == .i64 && compressed.isEncoded && compressed.chunkBytes == nil)
        let sharded = try ZarrArray.read(try Samples.source("zarr/v3_sharded/zarr.json")).get()
        #expect(sharded.dtype == .f16 && sharded.isEncoded && sharded.chunks == [8] && sharded.chunkCount == 2)
    }

    @Test(arguments: [
        (#"{"zarr_format":2,"shape":[4],"chunks":[2],"dtype":"<f4","compressor":{"id":"blosc"}}"#, Verdict.complete),
        (#"{"zarr_format":2,"shape":[4],"chunks":[0],"dtype":"<f4"}"#, .unsupported),
        (#"{"zarr_format":2,"shape":[4],"chunks":[2,2],"dtype":"<f4"}"#, .unsupported),
        (#"{"zarr_format":3,"node_type":"group"}"#, .notThisFormat), (#"{"a":1}"#, .notThisFormat),
        (#"{"zarr_format":4}"#, .unsupported), (#"{"zarr_format":2,"shape":[4],"#, .truncated), ("[]", .notThisFormat),
    ])
    func headersAreReadStrictly(text: String, verdict: Verdict) throws {
        #expect(Verdict(try ZarrArray.read(MemorySource(Array(text.utf8)))) == verdict)
    }

    @Test func everyPrefixIsTruncated() throws {
        let bytes = try Samples.bytes("zarr/v3/zarr.json")
        for count in 1..<bytes.count - 1 {
            #expect(Verdict(try ZarrArray.read(MemorySource(Array(bytes.prefix(count))))) == .truncated)
        }
    }
}
