/// A safetensors file: the length of a JSON header, the header, and the tensors one behind the other.
///
/// Whole exactly when its size is what the header announces, which is all that its own library checks.
package enum SafetensorsFile {
    /// Where the tensors lie. A file of less than nine bytes is not recognised: nothing in it says what it is.
    ///
    /// Throws only what `source` throws.
    package static func read(
        _ source: any TensorByteSource, limits: TensorFileLimits = TensorFileLimits()
    ) throws -> Finding<TensorLayout> {
        try Finding { try parse(source, limits) }
    }

    private static func parse(_ source: any TensorByteSource, _ limits: TensorFileLimits) throws -> TensorLayout {
        let start = try source.prefix(9)
        guard start.count == 9, start[8] == UInt8(ascii: "{") else {
            throw Stop.notThisFormat("no safetensors header at the start")
        }
        let length = start[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        // The library's own limit; a larger number is no length of a header.
        guard length <= 100_000_000 else { throw Stop.notThisFormat("no safetensors header at the start") }
        guard length <= limits.headerBytes else {
            throw Stop.unsupported("the safetensors header has \(length) bytes, over \(limits.headerBytes)")
        }
        guard 8 + length <= source.size else {
            throw Stop.truncated(
                "the safetensors header ends at byte \(8 + length), the file at byte \(source.size)",
                expectedSize: 8 + length)
        }
        let cursor = SourceCursor(source, 8..<8 + length, ending: .announced, structure: "the safetensors header")
        var reader = HeaderReader(json: JSONReader(cursor, limits: limits), limits: limits)
        try reader.readHeader()
        return try layout(reader, dataStart: 8 + length, size: source.size)
    }

    /// Holds the tensors against each other and against the file's size.
    private static func layout(_ header: HeaderReader, dataStart: UInt64, size: UInt64) throws -> TensorLayout {
        var regions = header.tensors
        regions.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
        var end: UInt64 = 0
        for index in regions.indices {
            let region = regions[index]
            guard region.range.lowerBound == end else {
                let what = region.range.lowerBound > end ? "a hole before" : "an overlap with"
                throw Stop.damaged("the safetensors header leaves \(what) the tensor \"\(region.name)\"")
            }
            end = region.range.upperBound
            let (fileEnd, overflow) = dataStart.addingReportingOverflow(end)
            guard !overflow else { throw Stop.damaged("the tensor \"\(region.name)\" ends beyond 2^64 bytes") }
            regions[index].range = dataStart + region.range.lowerBound..<fileEnd
        }
        let expected = dataStart + end
        guard size >= expected else {
            throw Stop.truncated(
                "\(expected) bytes are announced, the file has \(size)", expectedSize: expected)
        }
        guard size == expected else {
            throw Stop.damaged("\(expected) bytes are announced, the file has \(size): \(size - expected) too many")
        }
        return try TensorLayout(
            format: .safetensors, size: size, regions: regions, attributes: header.attributes)
    }

    /// Reads the header's JSON. The ranges it collects count from the end of the header.
    private struct HeaderReader {
        var json: JSONReader
        let limits: TensorFileLimits
        var tensors: [TensorLayout.Region] = []
        var attributes: [String: String] = [:]

        mutating func readHeader() throws {
            var names: Set<String> = []
            try json.beginObject()
            while let name = try json.nextKey() {
                guard names.insert(name).inserted else {
                    throw Stop.unsupported("the safetensors header names \"\(name)\" twice")
                }
                if name == "__metadata__" {
                    try readMetadata()
                } else {
                    guard tensors.count < limits.tensors else {
                        throw Stop.unsupported("the safetensors header has more than \(limits.tensors) tensors")
                    }
                    tensors.append(try readTensor(name))
                }
            }
            try json.expectEnd()
        }

        /// Texts by name. Long ones are passed over: trainers keep whole configurations here.
        private mutating func readMetadata() throws {
            try json.beginObject()
            while let name = try json.nextKey() {
                guard try json.kind() == .string else { throw json.damaged("a text expected") }
                guard let value = try json.readString(atMost: 256), attributes.count < 64 else { continue }
                attributes[name] = value
            }
        }

        private mutating func readTensor(_ name: String) throws -> TensorLayout.Region {
            var dtypeName: String?
            var shape: [UInt64]?
            var offsets: [UInt64]?
            try json.beginObject()
            while let key = try json.nextKey() {
                switch key {
                case "dtype": dtypeName = try json.readString(atMost: 64)
                case "shape": shape = try json.readUnsignedArray(atMost: limits.dimensions)
                case "data_offsets": offsets = try json.readUnsignedArray(atMost: 2)
                default: try json.skipValue()
                }
            }
            guard let dtypeName, let shape, let offsets, offsets.count == 2, offsets[0] <= offsets[1] else {
                throw json.damaged("the tensor \"\(name)\" without a type, a shape or a place")
            }
            guard let dtype = SafetensorsFile.dtypes[dtypeName] else {
                throw Stop.unsupported("the tensor \"\(name)\" has the unknown type \(dtypeName)")
            }
            guard let elements = TensorDType.elements(of: shape),
                dtype.byteCount(elements: elements) == offsets[1] - offsets[0]
            else {
                throw json.damaged("the tensor \"\(name)\" has another size than its shape")
            }
            return TensorLayout.Region(name: name, dtype: dtype, shape: shape, range: offsets[0]..<offsets[1])
        }
    }

    private static let dtypes: [String: TensorDType] = [
        "BOOL": .bool, "U8": .u8, "I8": .i8, "U16": .u16, "I16": .i16, "U32": .u32, "I32": .i32, "U64": .u64,
        "I64": .i64, "F16": .f16, "BF16": .bf16, "F32": .f32, "F64": .f64, "C64": .c64, "F4": .f4,
        "F6_E2M3": .f6e2m3, "F6_E3M2": .f6e3m2, "F8_E4M3": .f8e4m3, "F8_E5M2": .f8e5m2, "F8_E8M0": .f8e8m0,
        "F8_E4M3FNUZ": .f8e4m3fnuz, "F8_E5M2FNUZ": .f8e5m2fnuz,
    ]
}
