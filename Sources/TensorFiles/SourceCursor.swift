/// Reads a part of a source from its start to its end through a small window, so that memory does not grow with the part.
struct SourceCursor {
    /// What it means when a part ends too early.
    enum Ending {
        /// The file ends there: it was cut off.
        case endOfFile
        /// Another part of the file says that this one ends there: the two contradict each other.
        case announced
        /// A limit of ours ends it.
        case limit
    }

    private static let smallestWindow = 4 << 10
    private static let largestWindow = 256 << 10

    /// Where the bytes come from.
    let source: any TensorByteSource
    /// Where the part ends, in bytes from the source's start.
    let end: UInt64
    /// What is being read, for messages.
    var structure: String
    private let ending: Ending
    private var window: [UInt8] = []
    private var windowStart: UInt64
    private var position = 0
    /// Doubles with each window, so that a short part costs a short read.
    private var windowSize = SourceCursor.smallestWindow

    /// A cursor at the start of the part `range`, which lies within the source.
    init(_ source: any TensorByteSource, _ range: Range<UInt64>, ending: Ending, structure: String) {
        precondition(range.upperBound <= source.size, "a cursor beyond its source")
        self.source = source
        self.ending = ending
        self.structure = structure
        end = range.upperBound
        windowStart = range.lowerBound
    }

    /// A cursor at the start of the source that reads at most `limit` bytes of it.
    init(_ source: any TensorByteSource, limit: UInt64, structure: String) {
        let isWhole = source.size <= limit
        self.init(
            source, 0..<min(source.size, limit), ending: isWhole ? .endOfFile : .limit, structure: structure)
    }

    /// Bytes from the source's start to the next byte.
    var offset: UInt64 { windowStart + UInt64(position) }
    /// Bytes left of the part.
    var remaining: UInt64 { end - offset }
    var isAtEnd: Bool { offset == end }

    /// The stop for a part that ends too early.
    var ended: Stop {
        switch ending {
        case .endOfFile: .truncated("the file ends at byte \(end), in the middle of \(structure)")
        case .announced: .damaged("\(structure) ends at byte \(end), before it is whole")
        case .limit: .unsupported("\(structure) is larger than \(end) bytes")
        }
    }

    /// The stop for what cannot be read at the present place.
    func damaged(_ message: String) -> Stop { .damaged("\(structure): \(message) at byte \(offset)") }

    private mutating func advanceWindow() throws {
        let start = offset
        guard start < end else { throw ended }
        let count = Int(min(UInt64(windowSize), end - start))
        window = try source.bytes(at: start, count: count)
        windowStart = start
        position = 0
        windowSize = min(windowSize * 2, Self.largestWindow)
    }

    /// The next byte, which stays the next; nil at the end.
    mutating func peek() throws -> UInt8? {
        if position == window.count {
            if isAtEnd { return nil }
            try advanceWindow()
        }
        return window[position]
    }

    /// The next byte.
    mutating func readByte() throws -> UInt8 {
        if position == window.count { try advanceWindow() }
        defer { position += 1 }
        return window[position]
    }

    /// An integer, least significant byte first.
    mutating func read<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type) throws -> T {
        let size = MemoryLayout<T>.size
        var value: T = 0
        if window.count - position >= size {
            for index in 0..<size { value |= T(window[position + index]) &<< T(8 * index) }
            position += size
        } else {
            for index in 0..<size { value |= T(try readByte()) &<< T(8 * index) }
        }
        return value
    }

    /// The next `count` bytes; the caller has bounded `count`.
    mutating func readBytes(_ count: Int) throws -> [UInt8] {
        guard UInt64(count) <= remaining else { throw ended }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            if position == window.count { try advanceWindow() }
            let part = min(count - bytes.count, window.count - position)
            bytes += window[position..<position + part]
            position += part
        }
        return bytes
    }

    /// Passes over `count` bytes without reading those outside the window.
    mutating func skip(_ count: UInt64) throws {
        guard count <= remaining else { throw ended }
        if count <= UInt64(window.count - position) {
            position += Int(count)
        } else {
            windowStart = offset + count
            window = []
            position = 0
        }
    }
}
