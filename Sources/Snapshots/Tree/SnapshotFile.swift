internal import Repository
internal import RepositoryFormat

/// A regular file of a snapshot, read anywhere: for headers and other small parts. A restore reads whole files better.
///
/// Used by one thread; blocks.
final class SnapshotFile {
    /// Bytes in the file.
    let size: UInt64
    private let loader: TreeLoader
    private let items: [ContentItem]
    /// Where each item begins.
    private let starts: [UInt64]
    private var last: (item: Int, bytes: [UInt8])?

    /// The file `entry`. Throws what reading its list of chunks throws.
    init(_ entry: TreeEntry, loader: TreeLoader) throws(RepositoryError) {
        self.loader = loader
        items = try entry.content.map { content throws(RepositoryError) in try loader.items(of: content) } ?? []
        var starts: [UInt64] = []
        var offset: UInt64 = 0
        for item in items {
            starts.append(offset)
            let (end, isTooLarge) = offset.addingReportingOverflow(item.length)
            guard !isTooLarge, end <= UInt64(Int64.max) else {
                throw RepositoryError(.damaged, "\(PathText.display(entry.name)) has an impossible length")
            }
            offset = end
        }
        self.starts = starts
        size = offset
    }

    /// The item that holds the byte at `offset`, which is below `size`.
    private func item(at offset: UInt64) -> Int {
        var lower = 0
        var upper = items.count
        while upper - lower > 1 {
            let middle = (lower + upper) / 2
            if starts[middle] <= offset { lower = middle } else { upper = middle }
        }
        // Items without bytes share their start with the one that has some.
        while lower + 1 < items.count, starts[lower] + items[lower].length <= offset { lower += 1 }
        return lower
    }

    /// Calls `body` with each chunk: where it begins, its id, and its bytes.
    func forEachChunk(_ body: (_ start: UInt64, _ id: ChunkID, _ length: Int) -> Void) {
        for (start, item) in zip(starts, items) {
            if case .chunk(let id, let length) = item { body(start, id, Int(length)) }
        }
    }

    /// Fills `buffer` with the bytes at `offset`, and answers how many: fewer than fit only at the file's end.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(RepositoryError) -> Int {
        var done = 0
        while done < buffer.count, offset + UInt64(done) < size {
            let position = offset + UInt64(done)
            let item = item(at: position)
            let within = Int(position - starts[item])
            let place = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            switch items[item] {
            case .hole(let length):
                let count = Int(min(UInt64(place.count), length - UInt64(within)))
                UnsafeMutableRawBufferPointer(rebasing: place[..<count]).initializeMemory(as: UInt8.self, repeating: 0)
                done += count
            case .chunk(let id, let length):
                let bytes = try bytes(item, id)
                guard bytes.count == Int(length) else {
                    throw RepositoryError(.damaged, "chunk \(id) has \(bytes.count) bytes, its file says \(length)")
                }
                let count = min(place.count, bytes.count - within)
                bytes.withUnsafeBytes {
                    UnsafeMutableRawBufferPointer(rebasing: place[..<count]).copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: $0[within..<within + count]))
                }
                done += count
            }
        }
        return done
    }

    private func bytes(_ item: Int, _ id: ChunkID) throws(RepositoryError) -> [UInt8] {
        if let last, last.item == item { return last.bytes }
        let bytes = try loader.chunk(id, kind: .data)
        last = (item, bytes)
        return bytes
    }
}
