import FoundationEssentials
import Testing

@testable import TensorFiles

/// The committed samples, which `make_samples.py` made with the libraries that write these formats.
enum Samples {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Samples")

    /// The bytes of a sample, by its path.
    static func bytes(_ path: String) throws -> [UInt8] {
        Array(try Data(contentsOf: root.appending(path: path)))
    }

    /// The sample as a source.
    static func source(_ path: String) throws -> MemorySource { MemorySource(try bytes(path)) }
}

/// A file in memory that holds the parsers to what the protocol says, and counts what they read.
final class MemorySource: TensorByteSource {
    struct Refused: Error {}

    var bytes: [UInt8]
    let size: UInt64
    /// Bytes handed out.
    private(set) var bytesRead = 0
    private(set) var reads = 0
    /// Hands out at most so many bytes a call, as a source may.
    var mostPerRead = Int.max
    /// Throws at this read, counted from 1.
    var failingRead: Int?

    init(_ bytes: [UInt8], size: UInt64? = nil) {
        self.bytes = bytes
        self.size = size ?? UInt64(bytes.count)
    }

    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        reads += 1
        if reads == failingRead { throw Refused() }
        #expect(offset + UInt64(buffer.count) <= size, "a read beyond the file")
        #expect(buffer.count <= 256 << 10, "a read of \(buffer.count) bytes at once")
        guard offset < UInt64(bytes.count) else { return 0 }
        let count = min(buffer.count, bytes.count - Int(offset), mostPerRead)
        buffer.copyBytes(from: bytes[Int(offset)..<Int(offset) + count])
        bytesRead += count
        return count
    }
}

/// Random numbers that a seed repeats (SplitMix64, Steele, Lea and Flood 2014).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}

/// What a finding comes to, for tables of expectations.
enum Verdict: Equatable, Sendable {
    case complete, truncated, missing, damaged, notThisFormat, unsupported

    init<Value>(_ finding: Finding<Value>) {
        switch finding {
        case .complete: self = .complete
        case .torn(let evidence):
            switch evidence.kind {
            case .truncated: self = .truncated
            case .missing: self = .missing
            case .damaged: self = .damaged
            }
        case .notThisFormat: self = .notThisFormat
        case .unsupported: self = .unsupported
        }
    }
}

extension [UInt8] {
    /// The number's bytes, the least significant first.
    static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
    }

    /// Where `part` first lies.
    func position(of part: [UInt8]) -> Int? {
        guard count >= part.count else { return nil }
        return (0...count - part.count).first { self[$0..<$0 + part.count].elementsEqual(part) }
    }

    /// Where `part` last lies.
    func lastPosition(of part: [UInt8]) -> Int? {
        guard count >= part.count else { return nil }
        return (0...count - part.count).last { self[$0..<$0 + part.count].elementsEqual(part) }
    }

    /// The same with the bytes from `offset` replaced.
    func replacing(at offset: Int, with part: [UInt8]) -> [UInt8] {
        var changed = self
        changed.replaceSubrange(offset..<offset + part.count, with: part)
        return changed
    }
}

extension TensorLayout {
    /// The tensor with this name.
    func region(_ name: String) throws -> Region { try #require(regions.first { $0.name == name }, "no \(name)") }

    /// What every layout promises.
    func checkPromises() {
        var end: UInt64 = 0
        for region in regions {
            #expect(region.range.lowerBound >= end)
            end = region.range.upperBound
            #expect(region.dtype.byteCount(elements: region.elements) == region.byteCount, "\(region)")
        }
        #expect(end <= size)
        let covered =
            metadata.reduce(0) { $0 + $1.upperBound - $1.lowerBound } + regions.reduce(0) { $0 + $1.byteCount }
        #expect(covered == size)
    }
}
