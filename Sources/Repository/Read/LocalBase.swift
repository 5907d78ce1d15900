/// Bytes outside of the repository that may be those of a chunk in it: a piece of a file on the machine that is backed up.
///
/// A claim and no more: whoever reads them hashes them, and takes them for a chunk only if the repository has that one.
package protocol LocalBase: Sendable {
    /// Fills `buffer` with the bytes; false when they are not to be had. Blocks.
    func read(into buffer: UnsafeMutableRawBufferPointer) -> Bool

    /// Takes note of whether what was read is a chunk that others may be stored as the difference to.
    func note(isBase: Bool)
}
