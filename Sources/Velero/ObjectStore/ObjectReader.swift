internal import Basics
internal import ObjectStorage

/// Reads an object from its beginning, a few ranges ahead of its caller, in bounded memory.
///
/// Each range is tried again by itself, so a broken connection costs one range. The object's tag is compared each time: an
/// object that is replaced while it is read ends in an error, never in a mixture.
actor ObjectReader: ObjectDownload {
    /// Bytes of a range. Four of them, one being handed out, are the memory: 8 MiB.
    private static let rangeBytes: UInt64 = 2 << 20
    /// Ranges under way at once.
    private static let ahead = 3
    /// Bytes handed out at a time.
    private static let pieceBytes = 256 << 10

    private let store: any ObjectStore
    private let key: String
    /// Of the first range's answer: the object that all the others must be of.
    private let attributes: ObjectAttributes
    private var current: Buffer
    private var offset = 0
    /// Where the range after those under way begins.
    private var nextStart: UInt64
    private var underWay: [OwnedTask<Buffer, ObjectStorageError>] = []
    private var idle: [Buffer] = []

    private init(_ store: any ObjectStore, _ key: String, _ attributes: ObjectAttributes, _ first: Buffer) {
        self.store = store
        self.key = key
        self.attributes = attributes
        current = first
        nextStart = UInt64(first.count)
    }

    /// Opens an object by reading its beginning. `store` retries by itself. Throws what `get` throws.
    static func open(_ store: any ObjectStore, key: String) async throws(ObjectStorageError) -> ObjectReader {
        let first = Buffer(capacity: 0)
        do throws(ObjectStorageError) {
            let attributes = try await store.get(
                key, range: 0..<rangeBytes, into: first, maximumBytes: Int(rangeBytes))
            return ObjectReader(store, key, attributes, first)
        } catch {
            // An empty object has no byte to begin at.
            guard error.code == .invalidArgument else { throw error }
            let attributes = try await store.head(key)
            guard attributes.size == 0 else { throw error }
            first.count = 0
            return ObjectReader(store, key, attributes, first)
        }
    }

    func next() async throws(VeleroError) -> [UInt8]? {
        do throws(ObjectStorageError) {
            startRanges()
            if offset == current.count {
                guard let task = underWay.first else { return nil }
                let buffer = try await task.value()
                underWay.removeFirst()
                idle.append(current)
                current = buffer
                offset = 0
                startRanges()
            }
            let end = min(current.count, offset + Self.pieceBytes)
            guard offset < end else { return nil }
            let piece = Array(UnsafeRawBufferPointer(rebasing: current.bytes[offset..<end]))
            offset = end
            return piece
        } catch {
            close()
            throw VeleroError(error)
        }
    }

    func close() {
        for task in underWay { task.cancel() }
        underWay = []
        idle = []
        current = Buffer(capacity: 0)
        offset = 0
        nextStart = attributes.size
    }

    private func startRanges() {
        while underWay.count < Self.ahead, nextStart < attributes.size {
            let range = nextStart..<min(nextStart + Self.rangeBytes, attributes.size)
            nextStart = range.upperBound
            let (store, key, expected) = (store, key, attributes)
            let buffer = idle.popLast() ?? Buffer(capacity: range.count)
            underWay.append(
                OwnedTask { () async throws(ObjectStorageError) in
                    let found = try await store.get(key, range: range, into: buffer, maximumBytes: range.count)
                    guard found.tag == expected.tag, found.size == expected.size, buffer.count == range.count else {
                        throw ObjectStorageError(
                            .failed, "cannot read \(key) in \(store.location): it was replaced while it was being read")
                    }
                    return buffer
                })
        }
    }
}
