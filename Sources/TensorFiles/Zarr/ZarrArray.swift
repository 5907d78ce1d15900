/// The header of a zarr array: `.zarray` of version 2, `zarr.json` of version 3. The array's chunks are files beside it.
package struct ZarrArray: Hashable, Sendable {
    /// 2 or 3.
    package let version: Int
    package let shape: [UInt64]
    /// Of a chunk file; of a shard where chunks are packed in shards.
    package let chunks: [UInt64]
    /// Nil for a type that is not known here.
    package let dtype: TensorDType?
    /// Whether a chunk file is compressed, or something else than the plain numbers.
    package let isEncoded: Bool

    /// The chunk files of an array of which every chunk was written. Chunks that hold nothing but the fill value need
    /// not be there, so fewer are no evidence of anything. Nil for 2^64 and more.
    package var chunkCount: UInt64? {
        TensorDType.elements(of: zip(shape, chunks).map { $0 == 0 ? 0 : ($0 - 1) / $1 + 1 })
    }

    /// Bytes of every chunk file: those at the edge are as large. Nil when chunks are encoded, or the type is unknown.
    package var chunkBytes: UInt64? {
        guard !isEncoded, let elements = TensorDType.elements(of: chunks) else { return nil }
        return dtype?.byteCount(elements: elements)
    }

    /// The header in `source`. A `zarr.json` of a group is not this format. Throws only what `source` throws.
    package static func read(
        _ source: any TensorByteSource, limits: TensorFileLimits = TensorFileLimits()
    ) throws -> Finding<ZarrArray> {
        try Finding {
            guard try source.prefix(64).first(where: { $0 > 0x20 }) == UInt8(ascii: "{") else {
                throw Stop.notThisFormat("no JSON object")
            }
            // A header is some hundred bytes long; attributes may make it longer.
            let cursor = SourceCursor(source, limit: min(limits.headerBytes, 16 << 20), structure: "the zarr header")
            var reader = Reader(json: JSONReader(cursor, limits: limits), limits: limits)
            return try reader.read()
        }
    }

    private struct Reader {
        var json: JSONReader
        let limits: TensorFileLimits
        var version: UInt64?
        var nodeType: String?
        var shape: [UInt64]?
        var chunks: [UInt64]?
        var typeName: String?
        var isEncoded = false

        mutating func read() throws -> ZarrArray {
            try json.beginObject()
            while let key = try json.nextKey() {
                switch key {
                case "zarr_format": version = try json.readUnsigned()
                case "node_type": nodeType = try json.readString(atMost: 64)
                case "shape": shape = try json.readUnsignedArray(atMost: limits.dimensions)
                case "chunks": chunks = try json.readUnsignedArray(atMost: limits.dimensions)
                case "chunk_grid": chunks = try readGrid()
                case "dtype", "data_type": typeName = try readTypeName()
                case "compressor":
                    // null says that there is none
                    if try json.kind() != .literal { isEncoded = true }
                    try json.skipValue()
                case "filters": try readFilters()
                case "codecs": try readCodecs()
                default: try json.skipValue()
                }
            }
            try json.expectEnd()
            return try array()
        }

        private func array() throws -> ZarrArray {
            guard let version else { throw Stop.notThisFormat("a JSON object without zarr_format") }
            guard version == 2 || version == 3 else { throw Stop.unsupported("zarr version \(version)") }
            guard version == 2 || nodeType == "array" else { throw Stop.notThisFormat("a zarr group") }
            guard let shape, let chunks, chunks.count == shape.count, !chunks.contains(0) else {
                throw Stop.unsupported("the zarr header gives no plain shape and chunks")
            }
            return ZarrArray(
                version: Int(version), shape: shape, chunks: chunks,
                dtype: typeName.flatMap { version == 2 ? Self.dtype2($0) : Self.dtypes3[$0] }, isEncoded: isEncoded)
        }

        private mutating func readTypeName() throws -> String? {
            guard try json.kind() == .string else {
                try json.skipValue()
                return nil
            }
            return try json.readString(atMost: 64)
        }

        private mutating func readGrid() throws -> [UInt64]? {
            var shape: [UInt64]?
            try json.beginObject()
            while let key = try json.nextKey() {
                guard key == "configuration", try json.kind() == .object else {
                    try json.skipValue()
                    continue
                }
                try json.beginObject()
                while let key = try json.nextKey() {
                    if key == "chunk_shape", try json.kind() == .array {
                        shape = try json.readUnsignedArray(atMost: limits.dimensions)
                    } else {
                        try json.skipValue()
                    }
                }
            }
            return shape
        }

        private mutating func readFilters() throws {
            guard try json.kind() == .array else { return try json.skipValue() }
            try json.beginArray()
            while try json.nextElement() {
                isEncoded = true
                try json.skipValue()
            }
        }

        /// Plain are `bytes` alone, and `transpose`, which only names another order of the dimensions.
        private mutating func readCodecs() throws {
            guard try json.kind() == .array else { return try json.skipValue() }
            try json.beginArray()
            while try json.nextElement() {
                var name: String?
                guard try json.kind() == .object else {
                    isEncoded = true
                    try json.skipValue()
                    continue
                }
                try json.beginObject()
                while let key = try json.nextKey() {
                    if key == "name", try json.kind() == .string {
                        name = try json.readString(atMost: 64)
                    } else {
                        try json.skipValue()
                    }
                }
                if name != "bytes", name != "transpose" { isEncoded = true }
            }
        }

        private static func dtype2(_ name: String) -> TensorDType? {
            switch name.dropFirst() {
            case "b1": .bool
            case "i1": .i8
            case "i2": .i16
            case "i4": .i32
            case "i8": .i64
            case "u1": .u8
            case "u2": .u16
            case "u4": .u32
            case "u8": .u64
            case "f2": .f16
            case "f4": .f32
            case "f8": .f64
            case "c8": .c64
            case "c16": .c128
            default: name == "bfloat16" ? .bf16 : nil
            }
        }

        private static let dtypes3: [String: TensorDType] = [
            "bool": .bool, "int8": .i8, "int16": .i16, "int32": .i32, "int64": .i64, "uint8": .u8, "uint16": .u16,
            "uint32": .u32, "uint64": .u64, "float16": .f16, "float32": .f32, "float64": .f64, "bfloat16": .bf16,
            "complex64": .c64, "complex128": .c128,
        ]
    }
}
