/// The bytes of a chunk as they lie in memory: pieces, one after another. The memory belongs to the caller.
@safe
struct PieceList {
    private let pieces: [UnsafeRawBufferPointer]
    /// Bytes in all.
    let count: Int

    init(_ pieces: [UnsafeRawBufferPointer]) {
        var count = 0
        for index in unsafe pieces.indices { count += unsafe pieces[index].count }
        unsafe self.pieces = pieces
        self.count = count
    }

    /// Copies what begins `start` bytes into the concatenation, as much as `place` takes.
    func copy(from start: Int, into place: UnsafeMutableRawBufferPointer) {
        var skip = start
        var filled = 0
        for index in unsafe pieces.indices where filled < place.count {
            let piece = unsafe pieces[index]
            if skip >= piece.count {
                skip -= piece.count
                continue
            }
            let count = min(piece.count - skip, place.count - filled)
            let from = unsafe UnsafeRawBufferPointer(rebasing: piece[skip..<skip + count])
            unsafe UnsafeMutableRawBufferPointer(rebasing: place[filled..<filled + count]).copyMemory(from: from)
            filled += count
            skip = 0
        }
    }

    /// The `count` bytes that begin at `start`, all within one piece; nil when they lie in several.
    func contiguous(from start: Int, count: Int) -> UnsafeRawBufferPointer? {
        var skip = start
        for index in unsafe pieces.indices {
            let piece = unsafe pieces[index]
            if skip >= piece.count {
                skip -= piece.count
                continue
            }
            guard piece.count - skip >= count else { return nil }
            return unsafe UnsafeRawBufferPointer(rebasing: piece[skip..<skip + count])
        }
        return nil
    }
}
