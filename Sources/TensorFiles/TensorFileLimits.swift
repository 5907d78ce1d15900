/// What a file may ask of its parser. Beyond it, the file is `unsupported`: treated as bytes, and the reason told.
///
/// The defaults keep one parse below 300 MB in the worst case made for it, and below 20 MB for the largest models
/// published: a file of Kimi K2 or DeepSeek V3 has under 3,000 tensors, their indexes 140,000.
package struct TensorFileLimits: Sendable {
    /// Bytes of a header or an index. The safetensors library refuses more as well.
    package var headerBytes: UInt64 = 100_000_000
    /// Tensors in a file, or in an index. A tensor takes about 200 bytes while the layout lives: 52 MB.
    package var tensors = 1 << 18
    /// Bytes of a name.
    package var nameBytes = 4096
    /// Dimensions of a tensor: NumPy's own limit.
    package var dimensions = 64
    /// Values inside values in JSON.
    package var depth = 64
    /// Members of a zip archive: a tensor each, and a few more.
    package var members = (1 << 18) + 64
    /// What a pickle may ask for.
    package var pickle = PickleLimits()

    /// The defaults.
    package init() {}
}

/// What a pickle may ask of its reader: in all, 200 MB with the defaults.
///
/// The metadata of a distributed checkpoint takes some 27 values and 8 containers for each piece of a tensor, so these
/// do for 150,000 pieces: a model of 70 billion parameters with its optimizer state, saved by 64 ranks.
package struct PickleLimits: Sendable {
    /// Opcodes. Each costs a few nanoseconds: half a second at most.
    package var opcodes = 1 << 26
    /// Values held by containers, 8 bytes each: 34 MB.
    package var values = 1 << 22
    /// Entries of the memo, 8 bytes each: 34 MB.
    package var memo = 1 << 22
    /// Values on the stack, 8 bytes each, and as many marks: 8 MB.
    package var stack = 1 << 19
    /// Containers, 12 bytes each, and as many texts, 8 bytes each: 31 MB.
    package var containers = 3 << 19
    /// Objects, 32 bytes each, and as many names, persistent ids and large numbers, 56 bytes together: 92 MB.
    package var objects = 1 << 20
    /// Bytes of all text kept: 17 MB.
    package var textBytes = 1 << 24
    /// Bytes of one text; a longer one is passed over.
    package var longestText = 4096

    /// The defaults.
    package init() {}
}
