package import Checkpoints
internal import Compression
internal import Sealing

extension SurveyOptions {
    /// How every journey judges: by structure, with this program's hash functions and decompressor.
    package static var standard: SurveyOptions {
        var options = SurveyOptions()
        options.hasher = { algorithm in
            switch algorithm {
            case .sha1: SHA1Hasher()
            case .sha256: SHA256Hasher()
            }
        }
        options.zstd = { frame, mostBytes in
            // What does not open is for the survey to judge; why, it does not ask.
            try? ZstdDecompressor().decompress(foreign: frame, atMost: mostBytes)
        }
        return options
    }
}

private struct SHA1Hasher: StreamingHasher {
    private var state = SHA1State()
    mutating func update(_ bytes: UnsafeRawBufferPointer) { state.update(bytes) }
    mutating func finish() -> [UInt8] { state.finish() }
}

private struct SHA256Hasher: StreamingHasher {
    private var state = SHA256State()
    mutating func update(_ bytes: UnsafeRawBufferPointer) { state.update(bytes) }
    mutating func finish() -> [UInt8] { state.finish().bytes }
}
