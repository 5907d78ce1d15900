internal import RepositoryFormat

/// A blob in the clear.
struct OpenedBlob {
    var header: BlobHeader
    /// In memory of the opener, or where the blob was.
    var raw: UnsafeRawBufferPointer
    /// Of a difference: the chunk that was needed to read it.
    var base: ChunkID?
}
