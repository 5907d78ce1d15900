/// The index of a model in several files: `model.safetensors.index.json`, `pytorch_model.bin.index.json`.
package struct ShardIndex: Sendable {
    /// A tensor and the file that holds it.
    package struct Entry: Hashable, Sendable {
        package var tensor: String
        /// Into `files`.
        package var file: Int
    }

    /// Something that the index says and the files do not.
    package enum Difference: Hashable, Sendable {
        /// A file is missing, or has no layout.
        case missingFile(String)
        /// A tensor is not in the file that the index names.
        case missingTensor(String, file: String)
        /// The tensors' bytes are not the total that the index gives. Some exporters write it wrong: a warning.
        case totalSize(expected: UInt64, actual: UInt64)
    }

    /// Paths relative to the index, in byte order, each once.
    package let files: [String]
    /// In the order of the index.
    package let entries: [Entry]
    /// Bytes of all tensors together, where the index says so.
    package let totalSize: UInt64?

    /// The index in `source`. Throws only what `source` throws.
    package static func read(
        _ source: any TensorByteSource, limits: TensorFileLimits = TensorFileLimits()
    ) throws -> Finding<ShardIndex> {
        try Finding {
            let cursor = SourceCursor(source, limit: limits.headerBytes, structure: "the index")
            var json = JSONReader(cursor, limits: limits)
            guard source.size > 0, try source.prefix(64).first(where: { $0 > 0x20 }) == UInt8(ascii: "{") else {
                throw Stop.notThisFormat("no JSON object")
            }
            return try parse(&json, limits)
        }
    }

    private static func parse(_ json: inout JSONReader, _ limits: TensorFileLimits) throws -> ShardIndex {
        var weights: [(tensor: String, file: String)]?
        var totalSize: UInt64?
        try json.beginObject()
        while let key = try json.nextKey() {
            switch key {
            case "weight_map": weights = try readWeights(&json, limits)
            case "metadata" where try json.kind() == .object: totalSize = try readTotalSize(&json)
            default: try json.skipValue()
            }
        }
        try json.expectEnd()
        guard let weights else { throw Stop.notThisFormat("a JSON object without weight_map") }
        let files = Set(weights.map(\.file)).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let numbers = Dictionary(uniqueKeysWithValues: files.enumerated().map { ($1, $0) })
        return ShardIndex(
            files: files, entries: weights.map { Entry(tensor: $0.tensor, file: numbers[$0.file] ?? 0) },
            totalSize: totalSize)
    }

    private static func readWeights(
        _ json: inout JSONReader, _ limits: TensorFileLimits
    ) throws -> [(tensor: String, file: String)] {
        var weights: [(tensor: String, file: String)] = []
        var names: Set<String> = []
        try json.beginObject()
        while let tensor = try json.nextKey() {
            guard weights.count < limits.tensors else {
                throw Stop.unsupported("the index has more than \(limits.tensors) tensors")
            }
            guard names.insert(tensor).inserted else { throw Stop.unsupported("the index names \"\(tensor)\" twice") }
            guard try json.kind() == .string, let file = try json.readString(atMost: limits.nameBytes) else {
                throw json.damaged("the name of a file expected")
            }
            // A name that leaves the directory is none that a saver writes.
            guard !file.isEmpty, !file.utf8.contains(0),
                file.split(separator: "/", omittingEmptySubsequences: false).allSatisfy({
                    $0 != ".." && $0 != "." && !$0.isEmpty
                })
            else { throw Stop.unsupported("the index names a file outside its directory: \"\(file)\"") }
            weights.append((tensor, file))
        }
        return weights
    }

    /// Some exporters write the total as text or as a fraction; such a one is as good as none.
    private static func readTotalSize(_ json: inout JSONReader) throws -> UInt64? {
        var size: UInt64?
        try json.beginObject()
        while let key = try json.nextKey() {
            if key == "total_size", try json.kind() == .number {
                size = UInt64(try json.readNumber())
            } else {
                try json.skipValue()
            }
        }
        return size
    }

    /// Holds the index against the files found to be complete, by their paths as in `files`.
    package func differences(from layouts: [String: TensorLayout]) -> [Difference] {
        var differences: [Difference] = files.filter { layouts[$0] == nil }.map { .missingFile($0) }
        let isWhole = differences.isEmpty
        let names = files.map { file in layouts[file].map { Set($0.regions.map(\.name)) } }
        for entry in entries {
            guard let held = names[entry.file], !held.contains(entry.tensor) else { continue }
            differences.append(.missingTensor(entry.tensor, file: files[entry.file]))
        }
        if isWhole, let totalSize {
            let actual = files.reduce(UInt64(0)) { sum, file in
                layouts[file]?.regions.reduce(sum) { $0 &+ $1.byteCount } ?? sum
            }
            if actual != totalSize { differences.append(.totalSize(expected: totalSize, actual: actual)) }
        }
        return differences
    }
}
