/// A file that can be read anywhere: where the parsers get their bytes from. Used by one thread at a time.
package protocol TensorByteSource {
    /// Bytes in the file, as they were when it was opened; the same at every call.
    var size: UInt64 { get }

    /// Fills `buffer` with the bytes at `offset`, and returns how many: fewer than fit only when the file ends there.
    ///
    /// The parsers ask for no byte beyond `size` and for at most 256 KiB at a time. What this throws ends the parse and
    /// comes out of it as it is.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws -> Int
}

extension TensorByteSource {
    /// Fills `buffer` wholly. `offset` and the buffer's end lie within `size`.
    func fill(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        var done = 0
        while done < buffer.count {
            let count = try read(
                at: offset + UInt64(done), into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]))
            guard count > 0, count <= buffer.count - done else {
                throw Stop.unsupported("the file shrank while it was read")
            }
            done += count
        }
    }

    /// The `count` bytes at `offset`. Both lie within `size`; the caller has bounded `count`.
    func bytes(at offset: UInt64, count: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            try fill(UnsafeMutableRawBufferPointer(buffer), at: offset)
            filled = count
        }
    }

    /// The bytes from the start, at most `count` of them.
    func prefix(_ count: Int) throws -> [UInt8] { try bytes(at: 0, count: Int(min(UInt64(count), size))) }
}

/// A part of a file, as a file of its own.
package struct SourceSlice: TensorByteSource {
    let base: any TensorByteSource
    let start: UInt64
    package let size: UInt64

    /// The part with `range`, which lies within `base`.
    package init(_ base: any TensorByteSource, _ range: Range<UInt64>) {
        precondition(range.upperBound <= base.size, "a slice beyond its source")
        self.base = base
        start = range.lowerBound
        size = range.upperBound - range.lowerBound
    }

    package func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        try base.read(at: start + offset, into: buffer)
    }
}
