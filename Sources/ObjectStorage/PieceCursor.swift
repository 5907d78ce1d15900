internal import Basics

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A place in a body of many pieces, and what to hand to writev(2) from there.
struct PieceCursor {
    /// Pieces in one call at most; the kernel takes 1024 (IOV_MAX), and each costs 16 bytes of scratch.
    private static let maximumVectors = 256

    private let body: ObjectBody
    private var piece = 0
    private var offsetInPiece = 0
    /// Bytes of the body before it.
    private(set) var offset = 0

    /// The beginning of `body`.
    init(_ body: ObjectBody) { self.body = body }

    var isAtEnd: Bool { offset == body.count }

    /// Calls `use` with the pieces from here on, at most `maximumBytes` of them, and their offset in the body.
    func withVectors<E: Error>(
        maximumBytes: Int, _ use: (UnsafeBufferPointer<iovec>, Int) throws(E) -> Int
    ) throws(E) -> Int {
        var vectors: [iovec] = []
        var room = maximumBytes
        var skip = offsetInPiece
        for buffer in body.pieces[piece...] {
            if room == 0 || vectors.count == Self.maximumVectors { break }
            let count = min(buffer.count - skip, room)
            if count > 0 {
                let start = UnsafeMutableRawPointer(mutating: buffer.bytes.baseAddress)?.advanced(by: skip)
                vectors.append(iovec(iov_base: start, iov_len: count))
            }
            room -= count
            skip = 0
        }
        let all = vectors
        let result: Result<Int, E> = all.withUnsafeBufferPointer { pointer in
            do throws(E) { return .success(try use(pointer, offset)) } catch { return .failure(error) }
        }
        return try withExtendedLifetime(body) { () throws(E) in try result.get() }
    }

    /// Moves on by so many bytes.
    mutating func advance(by count: Int) {
        offset += count
        offsetInPiece += count
        while piece < body.pieces.count, offsetInPiece >= body.pieces[piece].count {
            offsetInPiece -= body.pieces[piece].count
            piece += 1
        }
    }
}
