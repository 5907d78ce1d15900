/// Cuts one file in its order: at the borders of tensors where those are known, a device into equal pieces, all else by
/// content. Used by one thread.
package enum FileCutter: Sendable {
    /// By what the scanner finds.
    case content(CutSelector)
    /// By a layout, from a cut at `start` on.
    case tensors(TensorCuts, start: UInt64)
    /// Into pieces of `pieceBytes`, counted from the file's first byte, from a cut at `start` on.
    case fixed(start: UInt64)

    /// Bytes of a piece of a device: 1 MiB. What lies on a device changes in place and never moves, so that cuts at fixed
    /// places find every piece that is the same again, without looking at a byte; cuts by content would join what changed to
    /// what did not, 2 MiB at a time. Smaller pieces would find more of small changes and cost more index: some 32 bytes each.
    package static let pieceBytes: UInt64 = 1 << 20

    /// A cutter for what follows a known cut at `start`: by `cuts` if there are any.
    package init(cuts: TensorCuts?, parameters: ChunkerParameters, start: UInt64) {
        self =
            if let cuts { .tensors(cuts, start: start) } else {
                .content(CutSelector(parameters: parameters, start: start))
            }
    }

    /// Takes the candidates of the next segment, as `CutSelector.add` does; a layout needs none.
    package mutating func add(_ candidates: [CutCandidate]) {
        guard case .content(var selector) = self else { return }
        selector.add(candidates)
        self = .content(selector)
    }

    /// The cuts that are certain now, as `CutSelector.cuts` gives them.
    package mutating func cuts(scannedUpTo scanned: UInt64, endOfFile: Bool) -> [UInt64] {
        switch self {
        case .fixed(var start):
            var cuts: [UInt64] = []
            while start < scanned {
                let next = (start / Self.pieceBytes + 1) * Self.pieceBytes
                guard next <= scanned || endOfFile else { break }
                start = min(next, scanned)
                cuts.append(start)
            }
            self = .fixed(start: start)
            return cuts
        case .content(var selector):
            let cuts = selector.cuts(scannedUpTo: scanned, endOfFile: endOfFile)
            self = .content(selector)
            return cuts
        case .tensors(let layout, var start):
            var cuts: [UInt64] = []
            while start < scanned {
                let next = layout.cut(after: start)
                guard next <= scanned || endOfFile else { break }
                start = min(next, scanned)
                cuts.append(start)
            }
            self = .tensors(layout, start: start)
            return cuts
        }
    }
}
