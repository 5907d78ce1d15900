import Testing

@testable import TensorFiles

@Suite("Shard names") struct ShardNameTests {
    @Test(arguments: [
        ("model-00001-of-00005.safetensors", "model", 1, 5, ".safetensors"),
        ("a-b-00005-of-00005.gguf", "a-b", 5, 5, ".gguf"), ("a-1-of-2", "a", 1, 2, ""),
        ("a-00001-of-00002-00001-of-00003.gguf", "a-00001-of-00002", 1, 3, ".gguf"),
    ])
    func aNameHasParts(text: String, stem: String, number: Int, count: Int, suffix: String) throws {
        let name = try #require(ShardName(text))
        #expect(name.stem == stem && name.number == number && name.count == count && name.suffix == suffix)
        #expect(name.sibling(number) == text)
    }

    @Test(arguments: [
        "model.safetensors", "model-00006-of-00005.gguf", "model-00000-of-00005.gguf", "model-1-of-00005.gguf",
        "model-of-00005.gguf", "-of-", "a-00001-of-.gguf", "a-1234567890-of-1234567890.gguf", "a-٣-of-٥.gguf",
    ])
    func otherNamesAreNone(text: String) { #expect(ShardName(text) == nil) }

    @Test func siblingsKeepTheirDigits() throws {
        #expect(try #require(ShardName("m-00001-of-00012.bin")).sibling(12) == "m-00012-of-00012.bin")
    }
}
