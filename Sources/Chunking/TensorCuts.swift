internal import TensorFiles

/// Where a file of tensors is cut, so that a tensor's chunks are the same wherever the tensor lies.
///
/// A large tensor is cut into pieces of `pieceBytes` counted from its start. What lies between large tensors (headers,
/// padding, small tensors) is cut into stretches of about `groupBytes`, at the borders of tensors. Cuts depend on the
/// layout alone. A layout is what a parser believed: whatever it says, every byte lies in exactly one chunk.
package struct TensorCuts: Sendable {
    /// What one parser found at one place.
    package struct Stretch: Sendable {
        /// Bytes of the file.
        package var range: Range<UInt64>
        /// The tensor's name; nil for a stretch of several, or of none.
        package var name: String?
        /// Bytes of a number if there is nothing but numbers of this width in the stretch: 1, 2, 4 or 8.
        package var elementWidth: Int?
        /// Whether these numbers have a sign, an exponent and a mantissa.
        package var isFloatingPoint: Bool
    }

    /// Bytes of the pieces of a large tensor; its last one may be shorter.
    package static let pieceBytes: UInt64 = 4 << 20
    /// A tensor of fewer bytes is small.
    package static let smallBelow: UInt64 = 512 << 10
    /// Bytes at which a stretch of small things ends.
    package static let groupBytes: UInt64 = 1 << 20

    /// In the file's order, without gaps, the whole file. None is empty.
    package let stretches: [Stretch]

    /// The cuts of a file of `size` bytes, or nil when it is no file of tensors, or not one that is understood.
    ///
    /// `read` fills a buffer with the bytes at an offset and answers how many there were; fewer only at the file's end. What
    /// it throws comes out of here as it is.
    package init?(
        size: UInt64, read: @escaping (UInt64, UnsafeMutableRawBufferPointer) throws -> Int
    ) throws {
        guard case .complete(let layout) = try TensorFile.layout(Source(size: size, body: read)),
            !layout.regions.isEmpty
        else { return nil }
        self.init(layout)
    }

    init(_ layout: TensorLayout) {
        var stretches: [Stretch] = []
        var open: Stretch?
        func close() {
            if let stretch = open { stretches.append(stretch) }
            open = nil
        }
        func take(_ range: Range<UInt64>, width: Int?, isFloatingPoint: Bool) {
            guard !range.isEmpty else { return }
            if let stretch = open,
                stretch.range.upperBound - stretch.range.lowerBound + UInt64(range.count) > Self.groupBytes
            {
                close()
            }
            guard var stretch = open else {
                open = Stretch(range: range, name: nil, elementWidth: width, isFloatingPoint: isFloatingPoint)
                return
            }
            stretch.range = stretch.range.lowerBound..<range.upperBound
            if stretch.elementWidth != width || stretch.isFloatingPoint != isFloatingPoint {
                stretch.elementWidth = nil
            }
            open = stretch
        }
        var end: UInt64 = 0
        for region in layout.regions where !region.range.isEmpty {
            // A header tells of the whole file: it stands alone, so that what follows it does not change with it.
            take(end..<region.range.lowerBound, width: nil, isFloatingPoint: false)
            if end == 0 { close() }
            end = region.range.upperBound
            let (width, isFloatingPoint) = Self.numbers(region.dtype)
            if region.byteCount < Self.smallBelow {
                take(region.range, width: width, isFloatingPoint: isFloatingPoint)
            } else {
                close()
                stretches.append(
                    Stretch(
                        range: region.range, name: region.name, elementWidth: width, isFloatingPoint: isFloatingPoint))
            }
        }
        take(end..<layout.size, width: nil, isFloatingPoint: false)
        close()
        self.stretches = stretches
    }

    /// The first cut behind `position`, which is below the file's end.
    package func cut(after position: UInt64) -> UInt64 {
        let stretch = stretches[self.stretch(at: position)].range
        let next = stretch.lowerBound + ((position - stretch.lowerBound) / Self.pieceBytes + 1) * Self.pieceBytes
        return min(next, stretch.upperBound)
    }

    /// The number of the stretch that `position`, which is below the file's end, lies in.
    package func stretch(at position: UInt64) -> Int {
        var lower = 0
        var upper = stretches.count
        while upper - lower > 1 {
            let middle = (lower + upper) / 2
            if stretches[middle].range.lowerBound <= position { lower = middle } else { upper = middle }
        }
        return lower
    }

    private static func numbers(_ dtype: TensorDType) -> (width: Int?, isFloatingPoint: Bool) {
        switch dtype {
        case .f16, .bf16, .f32, .f64, .c32, .c64, .c128: (dtype.width, true)
        case .bool, .u8, .i8, .u16, .i16, .u32, .i32, .u64, .i64, .f8e4m3, .f8e5m2, .f8e4m3fnuz, .f8e5m2fnuz, .f8e8m0:
            (dtype.width, false)
        case .f6e2m3, .f6e3m2, .f4, .quantised: (nil, false)
        case .other(_, let bytes): ([2, 4, 8].contains(bytes) ? bytes : nil, false)
        }
    }

    /// The caller's file, as the parsers see it.
    private struct Source: TensorByteSource {
        let size: UInt64
        let body: (UInt64, UnsafeMutableRawBufferPointer) throws -> Int

        func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
            try body(offset, buffer)
        }
    }
}
