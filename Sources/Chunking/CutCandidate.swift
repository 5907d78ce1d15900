/// A position in a file at which a chunk may end, by the bytes in front of it alone. Eight bytes in memory.
package struct CutCandidate: Hashable, Comparable, Sendable {
    private let bits: UInt64

    /// A candidate at `position`, below 2^63.
    package init(position: UInt64, isStrict: Bool) {
        bits = position << 1 | (isStrict ? 1 : 0)
    }

    /// Bytes from the file's start to the cut.
    package var position: UInt64 { bits >> 1 }
    /// Whether it is good for a chunk that has not reached the average size. Each is good for one that has.
    package var isStrict: Bool { bits & 1 == 1 }

    /// By position.
    package static func < (left: CutCandidate, right: CutCandidate) -> Bool { left.bits < right.bits }
}
