internal import Basics
package import Sealing

/// A snapshot's place among those of its source: what every role can read, so that writers can continue the chain.
package struct SnapshotChain: Hashable, Sendable {
    /// Digest over host and paths: which chain.
    package var source: Digest
    /// Counts from 1 in each chain.
    package var counter: UInt64
    /// The snapshot before, and the SHA-256 of its object; nil at a chain's start.
    package var predecessor: Predecessor?

    /// A link of the chain.
    package struct Predecessor: Hashable, Sendable {
        package var id: Identifier
        package var digest: Digest

        package init(id: Identifier, digest: Digest) {
            self.id = id
            self.digest = digest
        }
    }

    package init(source: Digest, counter: UInt64, predecessor: Predecessor?) {
        self.source = source
        self.counter = counter
        self.predecessor = predecessor
    }

    /// Names the chain of a host and the paths backed up there.
    package static func source(host: String, paths: [String]) -> Digest {
        var writer = ByteWriter()
        writer.write(prefixed: Array(host.utf8))
        for path in paths.sorted() { writer.write(prefixed: Array(path.utf8)) }
        return SHA256State.digest(of: writer.bytes)
    }

    func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: 96)
        writer.write(raw: source.bytes)
        writer.write(varint: counter)
        writer.write(predecessor == nil ? 0 : 1 as UInt8)
        if let predecessor {
            writer.write(raw: predecessor.id.bytes)
            writer.write(raw: predecessor.digest.bytes)
        }
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(FormatError) {
        self = try FormatError.reading("the snapshot's chain record") {
            var reader = ByteReader(bytes)
            var chain = SnapshotChain(
                source: try Digest.read(&reader), counter: try reader.readVarint(), predecessor: nil)
            if try reader.readByte() == 1 {
                chain.predecessor = Predecessor(
                    id: try Identifier.read(&reader), digest: try Digest.read(&reader))
            }
            try reader.expectEnd()
            return chain
        }
    }
}
