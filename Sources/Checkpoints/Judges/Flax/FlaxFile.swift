package import TensorFiles

/// A file of Flax's `checkpoints.save_checkpoint`: one MessagePack document (`serialization.msgpack_serialize`), a map.
///
/// Whole when the document ends where the file does, and every array has as many bytes as its shape says:
/// `msgpack_restore` fails otherwise.
package struct FlaxFile: Sendable {
    /// What the arrays come to, by type.
    package private(set) var totals: [TensorLayout.Total] = []
    /// Where arrays of several hosts lie, relative to the directory beside the file (`MP_ARRAY_PH`).
    package private(set) var arraysApart: [String] = []

    /// Pieces of a document; a tree of parameters has some ten for each array.
    private static let mostPieces = 1 << 22
    private static let mostDepth = 512, mostApart = 1 << 16
    private static let placeholder = "//GDAPlaceholder:"
    /// Flax's extension types (`_MsgpackExtType`).
    private static let array: Int8 = 1, scalar: Int8 = 3

    /// Whether a file that begins so may be one: a map that is not empty, whose first key is a text. An empty one's byte
    /// begins a pickle too.
    package static func begins(_ start: [UInt8]) -> Bool {
        let key: Int
        switch start.first {
        case .some(0x81...0x8f): key = 1
        case .some(0xde): key = 3
        case .some(0xdf): key = 5
        default: return false
        }
        // What is cut off so early may be one.
        return key >= start.count || (0xa0...0xbf).contains(start[key]) || (0xd9...0xdb).contains(start[key])
    }

    /// The file in `source`. Throws only what `source` throws.
    package static func read(_ source: any TensorByteSource) throws -> Finding<FlaxFile> {
        guard begins(try source.bytes(0..<min(source.size, 6))) else {
            return .notThisFormat("no MessagePack map at the start")
        }
        var file = FlaxFile()
        do {
            try file.walk(source)
            return .complete(file)
        } catch let fault as MessagePackCursor.Fault {
            switch fault {
            case .truncated(let size):
                return .torn(
                    TornEvidence(
                        kind: .truncated, message: "the MessagePack document is cut off at byte \(source.size)",
                        expectedSize: size))
            case .damaged(let message): return .torn(TornEvidence(kind: .damaged, message: message))
            case .unsupported(let reason): return .unsupported(reason)
            }
        }
    }

    private mutating func walk(_ source: any TensorByteSource) throws {
        var cursor = MessagePackCursor(source, 0..<source.size)
        // Elements left of each open container.
        var open: [UInt64] = [1]
        var pieces = 0
        while let left = open.last {
            guard left > 0 else {
                open.removeLast()
                continue
            }
            open[open.count - 1] = left - 1
            pieces += 1
            guard pieces <= Self.mostPieces, open.count <= Self.mostDepth else {
                throw MessagePackCursor.Fault.unsupported("the document has more pieces than are followed here")
            }
            switch try cursor.next() {
            case .map(let count): open.append(2 * count)
            case .array(let count): open.append(count)
            case .text(let text?) where text.hasPrefix(Self.placeholder):
                guard arraysApart.count < Self.mostApart else {
                    throw MessagePackCursor.Fault.unsupported("too many arrays lie apart")
                }
                arraysApart.append(String(text.dropFirst(Self.placeholder.count)))
            case .extension(Self.array, let range), .extension(Self.scalar, let range):
                try count(source, range)
            default: break
            }
        }
        guard cursor.isAtEnd else {
            throw MessagePackCursor.Fault.damaged("\(cursor.end - cursor.offset) bytes too many behind the document")
        }
    }

    /// An array: its shape, the name of its type, its bytes (`_ndarray_from_bytes`).
    private mutating func count(_ source: any TensorByteSource, _ range: Range<UInt64>) throws {
        var cursor = MessagePackCursor(source, range)
        do {
            guard case .array(3) = try cursor.next(), case .array(let dimensions) = try cursor.next(), dimensions <= 64
            else { throw MessagePackCursor.Fault.damaged("an array without shape, type and bytes") }
            var shape: [UInt64] = []
            for _ in 0..<dimensions {
                guard case .unsigned(let size) = try cursor.next() else {
                    throw MessagePackCursor.Fault.damaged("an array of an impossible shape")
                }
                shape.append(size)
            }
            guard case .text(let name?) = try cursor.next(), case .binary(let bytes) = try cursor.next(), cursor.isAtEnd
            else { throw MessagePackCursor.Fault.damaged("an array without type and bytes") }
            guard let dtype = Self.dtypes[name] else { return }
            guard let elements = TensorDType.elements(of: shape),
                let expected = dtype.byteCount(elements: elements), expected == bytes.upperBound - bytes.lowerBound
            else { throw MessagePackCursor.Fault.damaged("an array of another size than its shape") }
            add(TensorLayout.Total(dtype: dtype, tensors: 1, elements: elements, bytes: expected))
        } catch MessagePackCursor.Fault.truncated {
            throw MessagePackCursor.Fault.damaged("an array that is longer than its place")
        }
    }

    private mutating func add(_ total: TensorLayout.Total) {
        guard let index = totals.firstIndex(where: { $0.dtype == total.dtype }) else { return totals.append(total) }
        totals[index].tensors += 1
        totals[index].elements &+= total.elements
        totals[index].bytes &+= total.bytes
    }

    /// NumPy's names, and those of `ml_dtypes`.
    private static let dtypes: [String: TensorDType] = [
        "bool": .bool, "uint8": .u8, "uint16": .u16, "uint32": .u32, "uint64": .u64, "int8": .i8, "int16": .i16,
        "int32": .i32, "int64": .i64, "float16": .f16, "bfloat16": .bf16, "float32": .f32, "float64": .f64,
        "complex64": .c64, "complex128": .c128, "float8_e4m3fn": .f8e4m3, "float8_e5m2": .f8e5m2,
    ]
}
