/// The hash functions that content is held to. The caller supplies them: no cryptography is written twice.
package enum HashAlgorithm: String, Hashable, Sendable {
    /// Git's, for names of blobs.
    case sha1
    case sha256
}

/// A hash under way.
package protocol StreamingHasher {
    /// Adds bytes.
    mutating func update(_ bytes: UnsafeRawBufferPointer)
    /// The digest of all that was added. Called once, last.
    mutating func finish() -> [UInt8]
}

/// Begins a hash; nil for an algorithm that is not to be had.
package typealias HasherFactory = @Sendable (HashAlgorithm) -> (any StreamingHasher)?
