package import Sealing

/// What a chunk holds; trees and data have ids of different keys and live in different packs.
package enum ChunkKind: UInt8, Sendable, CaseIterable {
    /// File content.
    case data = 1
    /// Directory pages and chunk lists.
    case tree = 2

    /// The prefix of its packs' object names.
    package var packPrefix: String { self == .data ? "data/" : "tree/" }
}

/// Names a chunk by its content: HMAC-SHA-256, under a key of the repository, of the content's SHA-256.
///
/// Whoever lacks the key cannot tell whether a known file is stored (Format.md, "Chunk identity").
package struct ChunkID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let digest: Digest

    package init(_ digest: Digest) { self.digest = digest }

    package static func < (left: ChunkID, right: ChunkID) -> Bool { left.digest < right.digest }

    package var description: String { digest.description }
}

/// Computes chunk ids. Any thread may use it.
package struct ChunkIdentifier: Sendable {
    private let dataKey: HMACSHA256
    private let treeKey: HMACSHA256

    package init(dataKey: [UInt8], treeKey: [UInt8]) {
        self.dataKey = HMACSHA256(key: dataKey)
        self.treeKey = HMACSHA256(key: treeKey)
    }

    /// The id of a chunk of `kind` whose content has this SHA-256.
    package func id(of contentDigest: Digest, kind: ChunkKind) -> ChunkID {
        ChunkID(kind == .data ? dataKey.authenticate(contentDigest) : treeKey.authenticate(contentDigest))
    }
}
