/// A GGUF file, versions 2 and 3, little-endian: keys with values, the tensors' descriptions, the tensors.
///
/// Whole when every tensor ends within the file. llama.cpp demands as well that the tensors follow each other in the
/// order of their descriptions, each padded to the alignment; a file that differs is not judged.
package enum GGUFFile {
    /// Where the tensors lie, with the part of the set in `part` and `general.architecture`, `general.name` and
    /// `general.file_type` in `attributes`. Throws only what `source` throws.
    package static func read(
        _ source: any TensorByteSource, limits: TensorFileLimits = TensorFileLimits()
    ) throws -> Finding<TensorLayout> {
        try Finding {
            guard try source.prefix(4) == Array("GGUF".utf8) else {
                throw Stop.notThisFormat("no GGUF magic at the start")
            }
            var parser = Parser(
                cursor: SourceCursor(source, limit: limits.headerBytes, structure: "the GGUF header"), limits: limits)
            return try parser.parse()
        }
    }

    private struct Parser {
        var cursor: SourceCursor
        let limits: TensorFileLimits
        var alignment: UInt64 = 32
        var attributes: [String: String] = [:]
        var numbers: [String: UInt64] = [:]

        private static let keptTexts: Set<String> = ["general.architecture", "general.name"]
        private static let keptNumbers: Set<String> = [
            "general.alignment", "general.file_type", "split.no", "split.count", "split.tensors.count",
        ]

        mutating func parse() throws -> TensorLayout {
            try cursor.skip(4)
            let version = try cursor.read(UInt32.self)
            guard version & 0xffff != 0 else {
                throw Stop.unsupported("a big-endian GGUF file")
            }
            guard version == 2 || version == 3 else { throw Stop.unsupported("GGUF version \(version)") }
            let tensorCount = try cursor.read(UInt64.self)
            let valueCount = try cursor.read(UInt64.self)
            guard tensorCount <= UInt64(limits.tensors) else {
                throw Stop.unsupported("the GGUF header announces \(tensorCount) tensors, over \(limits.tensors)")
            }
            // Each takes at least 13 bytes, so a false count ends at the header's end at the latest.
            var left = valueCount
            while left > 0 {
                try readValue()
                left -= 1
            }
            try readAlignment()
            var tensors: [(region: TensorLayout.Region, offset: UInt64)] = []
            for _ in 0..<Int(tensorCount) { tensors.append(try readTensor()) }
            return try layout(tensors)
        }

        private mutating func readText() throws -> String {
            let count = try cursor.read(UInt64.self)
            guard count <= cursor.remaining else { throw cursor.ended }
            guard count <= UInt64(limits.nameBytes) else {
                throw Stop.unsupported("the GGUF header has a name of \(count) bytes")
            }
            guard let text = String(validating: try cursor.readBytes(Int(count)), as: UTF8.self) else {
                throw Stop.unsupported("the GGUF header has a name that is not UTF-8")
            }
            return text
        }

        private mutating func readValue() throws {
            let key = try readText()
            let type = try cursor.read(UInt32.self)
            if type == GGUFType.string, Self.keptTexts.contains(key) {
                attributes[key] = try readText()
            } else if let size = GGUFType.valueSize(type), Self.keptNumbers.contains(key) {
                numbers[key] = try cursor.readBytes(Int(size)).reversed().reduce(0) { $0 << 8 | UInt64($1) }
                if key == "general.alignment", type != GGUFType.u32 {
                    throw cursor.damaged("an alignment that is no 32-bit number")
                }
            } else {
                try skipValue(type: type, depth: 0)
            }
        }

        private mutating func skipValue(type: UInt32, depth: Int) throws {
            if let size = GGUFType.valueSize(type) { return try cursor.skip(size) }
            if type == GGUFType.string { return try cursor.skip(try cursor.read(UInt64.self)) }
            guard type == GGUFType.array else { throw Stop.unsupported("the GGUF header has a value of type \(type)") }
            guard depth < 4 else { throw Stop.unsupported("the GGUF header has arrays nested deeper than 4") }
            let elementType = try cursor.read(UInt32.self)
            var left = try cursor.read(UInt64.self)
            if let size = GGUFType.valueSize(elementType) {
                let (bytes, overflow) = left.multipliedReportingOverflow(by: size)
                guard !overflow else { throw cursor.ended }
                return try cursor.skip(bytes)
            }
            // Each element takes at least eight bytes, so a false count ends at the header's end.
            while left > 0 {
                try skipValue(type: elementType, depth: depth + 1)
                left -= 1
            }
        }

        private mutating func readAlignment() throws {
            guard let value = numbers["general.alignment"] else { return }
            guard value > 0, value.nonzeroBitCount == 1 else {
                throw cursor.damaged("an alignment of \(value), which is no power of two")
            }
            alignment = value
        }

        private mutating func readTensor() throws -> (region: TensorLayout.Region, offset: UInt64) {
            let name = try readText()
            let dimensions = try cursor.read(UInt32.self)
            guard dimensions <= 4 else {
                throw Stop.unsupported("the tensor \"\(name)\" has \(dimensions) dimensions")
            }
            // The file has the fastest dimension first; every other format and every user has it last.
            var shape: [UInt64] = []
            for _ in 0..<dimensions { shape.append(try cursor.read(UInt64.self)) }
            let type = try cursor.read(UInt32.self)
            let offset = try cursor.read(UInt64.self)
            guard let dtype = GGUFType.tensorType(type) else {
                throw Stop.unsupported("the tensor \"\(name)\" has the unknown type \(type)")
            }
            if case .quantised(_, let block, _) = dtype, !(shape.first ?? 1).isMultiple(of: UInt64(block)) {
                throw cursor.damaged("the tensor \"\(name)\" has rows that are no whole number of blocks")
            }
            guard let elements = TensorDType.elements(of: shape), let bytes = dtype.byteCount(elements: elements) else {
                throw cursor.damaged("the tensor \"\(name)\" has an impossible size")
            }
            let region = TensorLayout.Region(name: name, dtype: dtype, shape: shape.reversed(), range: 0..<bytes)
            return (region, offset)
        }

        private func layout(_ tensors: [(region: TensorLayout.Region, offset: UInt64)]) throws -> TensorLayout {
            let size = cursor.source.size
            var regions: [TensorLayout.Region] = []
            regions.reserveCapacity(tensors.count)
            var expected: UInt64 = 0
            var isInOrder = true
            var end: UInt64 = cursor.offset
            for (region, offset) in tensors {
                isInOrder = isInOrder && offset == expected
                let place = try sum(try aligned(cursor.offset), offset)
                let tensorEnd = try sum(place, region.byteCount)
                regions.append(region)
                regions[regions.count - 1].range = place..<tensorEnd
                end = max(end, tensorEnd)
                expected = try aligned(try sum(offset, region.byteCount))
            }
            guard end <= size else {
                throw Stop.truncated("the tensors end at byte \(end), the file at byte \(size)", expectedSize: end)
            }
            guard isInOrder else {
                throw Stop.unsupported("the tensors do not follow each other in the order of the GGUF header")
            }
            var attributes = attributes
            attributes["general.file_type"] = numbers["general.file_type"].map { "\($0)" }
            return try TensorLayout(
                format: .gguf, size: size, regions: regions, attributes: attributes, part: try part())
        }

        private func part() throws -> TensorLayout.Part? {
            guard let count = numbers["split.count"], count > 1 else { return nil }
            guard let number = numbers["split.no"], number < count else {
                throw Stop.damaged("the GGUF header gives no number below \(count) for this part of the set")
            }
            return TensorLayout.Part(number: number, count: count, tensors: numbers["split.tensors.count"])
        }

        private func sum(_ left: UInt64, _ right: UInt64) throws -> UInt64 {
            let (value, overflow) = left.addingReportingOverflow(right)
            guard !overflow else { throw Stop.damaged("a tensor ends beyond 2^64 bytes") }
            return value
        }

        private func aligned(_ value: UInt64) throws -> UInt64 {
            try sum(value, alignment - 1) & ~(alignment - 1)
        }
    }
}
