/// Chooses the cuts of one file among its candidates (FastCDC's normalised chunking, Xia et al. 2016, on positions).
///
/// A chunk that begins at s ends at the first strict candidate in [s + minimum, s + average), else at the first loose or
/// strict one in [s + average, s + maximum), else at s + maximum; the file's end always ends it. The cuts do not depend
/// on how the file was divided for scanning. Used by one thread; cheap.
package struct CutSelector: Sendable {
    private let minimum: UInt64
    private let average: UInt64
    private let maximum: UInt64
    /// Candidates that may still matter, ascending from `head`.
    private var pending: [CutCandidate] = []
    private var head = 0
    private var start: UInt64 = 0
    private var ended = false

    /// A selector for a file, or for what follows a known cut at `start`: the cuts behind it are the same.
    package init(parameters: ChunkerParameters, start: UInt64 = 0) {
        self.start = start
        minimum = UInt64(parameters.minimum)
        average = UInt64(parameters.average)
        maximum = UInt64(parameters.maximum)
    }

    /// Takes the candidates of the next segment: ascending, and above all taken before.
    package mutating func add(_ candidates: [CutCandidate]) {
        guard var last = candidates.first else { return }
        precondition(pending.last.map { $0 < last } ?? true, "segments are taken in the file's order")
        for candidate in candidates.dropFirst() {
            precondition(last < candidate, "candidates are taken in ascending order")
            last = candidate
        }
        if head > 0 {
            pending.removeFirst(head)
            head = 0
        }
        pending.append(contentsOf: candidates)
    }

    /// The cuts that are certain now and have not been returned before, ascending, as bytes from the file's start.
    ///
    /// - Parameters:
    ///   - scanned: bytes of the file whose candidates have been added.
    ///   - endOfFile: whether that is the whole file; the last cut is its end then. An empty file has no cuts.
    package mutating func cuts(scannedUpTo scanned: UInt64, endOfFile: Bool) -> [UInt64] {
        precondition(!ended || scanned == start, "the file has ended")
        var cuts: [UInt64] = []
        while start < scanned, let cut = nextCut(scanned: scanned, endOfFile: endOfFile) {
            cuts.append(cut)
            start = cut
        }
        ended = endOfFile
        return cuts
    }

    /// The end of the chunk that begins at `start`, or nil when it takes more of the file to know.
    private mutating func nextCut(scanned: UInt64, endOfFile: Bool) -> UInt64? {
        while head < pending.count, pending[head].position < start + minimum { head += 1 }
        var index = head
        while index < pending.count, pending[index].position < start + maximum, pending[index].position <= scanned {
            let candidate = pending[index]
            if candidate.isStrict || candidate.position >= start + average { return candidate.position }
            index += 1
        }
        if scanned >= start + maximum { return start + maximum }
        return endOfFile ? scanned : nil
    }
}
