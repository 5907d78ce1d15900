/// Finds the positions in a segment of a file at which a chunk may end.
///
/// The gear hash after a byte is twice the hash before it plus the byte's word, modulo 2^64: it depends on the last 64
/// bytes alone, not on where a chunk or a segment began. So segments can be scanned by any number of threads in any
/// order, with the same result as one pass over the file. A position is a loose candidate when the hash begins with
/// `ChunkerParameters.looseBits` zero bits, and strict with `strictBits`.
package struct CutScanner: Sendable {
    /// Bytes in front of a segment that its first hashes depend on.
    package static let window = 64

    private static let stripes = 4
    /// Steps between two looks at the lanes' least words.
    private static let blockSteps = 64
    /// Segments below this are scanned by the plain loop: warming up the stripes would cost as much.
    private static let smallestStriped = 4096

    private let table: GearTable
    /// A flipped hash below this, as a signed number, is a loose candidate's.
    private let looseLimit: Int64
    /// The same for strict candidates.
    private let strictLimit: Int64
    /// The highest 16 bits of a loose candidate's flipped hash are below this: exact up to 16 bits, a hint for more.
    private let hintLimit: Int16

    /// A scanner for one table and one set of parameters. Any thread may use it.
    package init(table: GearTable, parameters: ChunkerParameters) {
        self.table = table
        looseLimit = .min + (1 << Int64(64 - parameters.looseBits))
        strictLimit = .min + (1 << Int64(64 - parameters.strictBits))
        hintLimit = .min + (1 << Int16(max(16 - parameters.looseBits, 0)))
    }

    /// Appends the candidates of a segment in ascending order.
    ///
    /// - Parameters:
    ///   - bytes: the segment, and in front of it the `leadIn` bytes that precede it in the file.
    ///   - leadIn: at least 64, or all there are when the segment begins nearer to the file's start.
    ///   - offset: bytes in the file before the segment. Candidates lie above it, up to and with the segment's end.
    package func scan(
        _ bytes: UnsafeRawBufferPointer, leadIn: Int, offset: UInt64, into candidates: inout [CutCandidate]
    ) {
        precondition(leadIn <= bytes.count && UInt64(leadIn) <= offset, "\(leadIn) bytes are more than there are")
        precondition(UInt64(leadIn) >= min(UInt64(Self.window), offset), "\(leadIn) bytes in front are too few")
        guard let start = bytes.baseAddress, bytes.count > leadIn else { return }
        let segment = (start + leadIn).assumingMemoryBound(to: UInt8.self)
        let count = bytes.count - leadIn
        table.flippedWords.withUnsafeBufferPointer { words in
            guard let words = words.baseAddress else { return }
            let first = warmedUp(words, before: segment, count: min(leadIn, Self.window))
            guard count >= Self.smallestStriped else {
                step(words, segment, count: count, from: first, position: offset, into: &candidates)
                return
            }
            let known = candidates.count
            let length = count / (Self.stripes * Self.blockSteps) * Self.blockSteps
            let last = scanStripes(
                words, segment, length: length, from: first, position: offset, into: &candidates)
            candidates[known...].sort()
            let done = Self.stripes * length
            step(
                words, segment + done, count: count - done, from: last, position: offset + UInt64(done),
                into: &candidates)
        }
    }

    /// The flipped hash after the `count` bytes in front of `segment`.
    private func warmedUp(_ words: UnsafePointer<UInt64>, before segment: UnsafePointer<UInt8>, count: Int) -> UInt64 {
        var hash: UInt64 = 0
        for index in -count..<0 { hash = hash &<< 1 &+ words[Int(segment[index])] }
        return hash
    }

    /// The plain loop over `count` bytes that begin at `position` with the flipped hash `from`. Returns the last one.
    @discardableResult
    private func step(
        _ words: UnsafePointer<UInt64>, _ bytes: UnsafePointer<UInt8>, count: Int, from start: UInt64,
        position: UInt64, into candidates: inout [CutCandidate]
    ) -> UInt64 {
        var hash = start
        for index in 0..<count {
            hash = hash &<< 1 &+ words[Int(bytes[index])]
            if Int64(bitPattern: hash) < looseLimit {
                candidates.append(
                    CutCandidate(
                        position: position + UInt64(index) + 1, isStrict: Int64(bitPattern: hash) < strictLimit))
            }
        }
        return hash
    }

    /// Scans four adjacent stripes of `length` bytes (a multiple of `blockSteps`) at a time, two in each vector, and
    /// appends their candidates out of order. Returns the flipped hash at the last stripe's end.
    ///
    /// A hash needs the one before it, so a single stripe waits most of the time; four keep the processor busy. Instead
    /// of a test per byte there is the least highest word of each lane over 64 steps: where it could be a candidate's,
    /// one block in 256 at the standard sizes, the plain loop goes over the block again. Two steps a turn, because the
    /// compiler does not unroll the loop by itself. A little faster than four stripes of C with a test per byte
    /// (gcc -O3): 0.28 against 0.31 CPU seconds per GB in one run.
    private func scanStripes(
        _ words: UnsafePointer<UInt64>, _ segment: UnsafePointer<UInt8>, length: Int, from first: UInt64,
        position: UInt64, into candidates: inout [CutCandidate]
    ) -> UInt64 {
        let (bytes0, bytes1) = (segment, segment + length)
        let (bytes2, bytes3) = (segment + 2 * length, segment + 3 * length)
        let window = Self.window
        var left = Vector(first, warmedUp(words, before: bytes1, count: window))
        var right = Vector(
            warmedUp(words, before: bytes2, count: window), warmedUp(words, before: bytes3, count: window))
        let hint = hintLimit
        words.withMemoryRebound(to: Double.self, capacity: 256) { gear in
            var index = 0
            while index < length {
                let (leftBefore, rightBefore) = (left, right)
                var leastLeft = Words(repeating: .max)
                var leastRight = leastLeft
                let end = index &+ Self.blockSteps
                while index < end {
                    Self.advance(&left, &leastLeft, gear[Int(bytes0[index])], gear[Int(bytes1[index])])
                    Self.advance(&right, &leastRight, gear[Int(bytes2[index])], gear[Int(bytes3[index])])
                    Self.advance(&left, &leastLeft, gear[Int(bytes0[index &+ 1])], gear[Int(bytes1[index &+ 1])])
                    Self.advance(&right, &leastRight, gear[Int(bytes2[index &+ 1])], gear[Int(bytes3[index &+ 1])])
                    index &+= 2
                }
                // Words 3 and 7 are the highest of the two lanes (little-endian).
                if min(leastLeft[3], leastLeft[7], leastRight[3], leastRight[7]) < hint {
                    let begin = index - Self.blockSteps
                    for (stripe, hash) in [leftBefore[0], leftBefore[1], rightBefore[0], rightBefore[1]].enumerated() {
                        let start = stripe * length + begin
                        step(
                            words, segment + start, count: Self.blockSteps, from: hash,
                            position: position + UInt64(start), into: &candidates)
                    }
                }
            }
        }
        return right[1]
    }

    private typealias Vector = SIMD2<UInt64>
    private typealias Words = SIMD8<Int16>

    /// One step of two stripes: `low` and `high` are the words of their next bytes, loaded as doubles because two of
    /// those make a vector with one instruction less than two integers.
    @inline(__always)
    private static func advance(_ hashes: inout Vector, _ least: inout Words, _ low: Double, _ high: Double) {
        hashes = hashes &+ hashes &+ unsafeBitCast(SIMD2<Double>(low, high), to: Vector.self)
        let words = unsafeBitCast(hashes, to: Words.self)
        least.replace(with: words, where: words .< least)
    }
}
