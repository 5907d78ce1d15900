package import RepositoryFormat

/// Where to read a chunk.
package struct ChunkLocation: Hashable, Sendable {
    package var pack: Identifier
    package var kind: ChunkKind
    package var session: SessionHeader
    /// Bytes from the pack's start to the blob's header.
    package var offset: UInt32
    /// Bytes behind the header.
    package var sealedLength: UInt32
    /// Bytes of the chunk.
    package var rawLength: UInt32
    package var isGroup: Bool
    /// The chunk that must be read first, of which this one is stored as the difference.
    package var base: ChunkID?
    /// How its blob was made smaller; nil where the index does not tell.
    package var codec: BlobCodec?
    /// The segment and the row that say so.
    package var segment: Identifier
    package var row: Int

    /// The name of the pack's object.
    package var objectName: String { ObjectNames.pack(pack, kind) }
    /// Header and sealed bytes in the pack.
    package var range: Range<UInt64> {
        UInt64(offset)..<UInt64(offset) + UInt64(BlobHeader.size) + UInt64(sealedLength)
    }
}
