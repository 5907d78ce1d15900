/// A block of numbers that a PyTorch pickle leaves to its loader: the bytes of one tensor, or of several views.
struct TorchStorage {
    /// Its name in the file.
    var key: String
    var dtype: TensorDType
    /// Elements.
    var count: UInt64
    /// Bytes.
    var byteCount: UInt64

    /// The storage that a persistent id describes: `('storage', class, key, place, count)`, and in old files a view
    /// behind it. Nil for an id of another kind.
    init?(_ id: PickleValue, in graph: PickleGraph) throws {
        guard let parts = graph.elements(id), parts.count >= 5,
            graph.text(parts[parts.startIndex]) == "storage", let type = graph.global(parts[parts.startIndex + 1]),
            let key = graph.text(parts[parts.startIndex + 2])
                ?? graph.integer(parts[parts.startIndex + 2]).map({ "\($0)" }),
            let count = graph.unsigned(parts[parts.startIndex + 4])
        else { return nil }
        guard let dtype = Self.storageTypes[type.name] else {
            throw Stop.unsupported("the storage \(key) is of the unknown class \(type.module).\(type.name)")
        }
        guard let bytes = dtype.byteCount(elements: count) else {
            throw Stop.damaged("the storage \(key) has an impossible size")
        }
        self.key = key
        self.dtype = dtype
        self.count = count
        byteCount = bytes
    }

    /// Every storage of a pickle by its key, in the order of first mention. Throws when two mentions differ.
    static func all(in graph: PickleGraph, limits: TensorFileLimits) throws -> [TorchStorage] {
        var storages: [TorchStorage] = []
        var places: [String: Int] = [:]
        for id in graph.persistentIDs {
            guard let storage = try TorchStorage(id, in: graph) else {
                // Old files leave the class of a module to the loader as well, with its source.
                guard graph.text(graph.elements(id)?.first) == "module" else {
                    throw Stop.unsupported("the pickle leaves something to its loader that is no storage")
                }
                continue
            }
            if let place = places[storage.key] {
                guard storages[place].byteCount == storage.byteCount else {
                    throw Stop.damaged("the storage \(storage.key) has two sizes")
                }
                continue
            }
            guard storages.count < limits.tensors else {
                throw Stop.unsupported("the pickle has more than \(limits.tensors) storages")
            }
            places[storage.key] = storages.count
            storages.append(storage)
        }
        return storages
    }

    /// Storage classes of `torch` and `torch.cuda`.
    private static let storageTypes: [String: TensorDType] = [
        "ByteStorage": .u8, "CharStorage": .i8, "BoolStorage": .bool, "ShortStorage": .i16, "IntStorage": .i32,
        "LongStorage": .i64, "HalfStorage": .f16, "BFloat16Storage": .bf16, "FloatStorage": .f32,
        "DoubleStorage": .f64, "ComplexFloatStorage": .c64, "ComplexDoubleStorage": .c128, "UntypedStorage": .u8,
        "QInt8Storage": .other(name: "qint8", elementBytes: 1),
        "QUInt8Storage": .other(name: "quint8", elementBytes: 1),
        "QInt32Storage": .other(name: "qint32", elementBytes: 4),
        "QUInt4x2Storage": .other(name: "quint4x2", elementBytes: 1),
        "QUInt2x4Storage": .other(name: "quint2x4", elementBytes: 1),
    ]

    /// Types as `torch` names them: `torch.bfloat16`.
    static let dtypes: [String: TensorDType] = [
        "uint8": .u8, "int8": .i8, "bool": .bool, "uint16": .u16, "int16": .i16, "short": .i16, "uint32": .u32,
        "int32": .i32, "int": .i32, "uint64": .u64, "int64": .i64, "long": .i64, "float16": .f16, "half": .f16,
        "bfloat16": .bf16, "float32": .f32, "float": .f32, "float64": .f64, "double": .f64, "complex32": .c32,
        "chalf": .c32, "complex64": .c64, "cfloat": .c64, "complex128": .c128, "cdouble": .c128,
        "float8_e4m3fn": .f8e4m3, "float8_e5m2": .f8e5m2, "float8_e4m3fnuz": .f8e4m3fnuz,
        "float8_e5m2fnuz": .f8e5m2fnuz, "float8_e8m0fnu": .f8e8m0,
        "float4_e2m1fn_x2": .other(name: "float4_e2m1fn_x2", elementBytes: 1),
        "qint8": .other(name: "qint8", elementBytes: 1), "quint8": .other(name: "quint8", elementBytes: 1),
        "qint32": .other(name: "qint32", elementBytes: 4),
    ]
}
