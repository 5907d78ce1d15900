/// The `.metadata` file of a PyTorch distributed checkpoint (DCP): which tensors there are, in which pieces, and where in
/// the data files each piece lies.
///
/// Its presence is the commit point of a save; `missing` and `requiredSizes` say what else must be there.
package struct DistributedMetadata: Sendable {
    /// A rectangular piece of a tensor.
    package struct Chunk: Hashable, Sendable {
        package var offsets: [UInt64]
        package var sizes: [UInt64]
    }

    /// A tensor as the whole job knows it.
    package struct Tensor: Hashable, Sendable {
        package var name: String
        /// Nil for a type that is not known here.
        package var dtype: TensorDType?
        package var shape: [UInt64]
        package var chunks: [Chunk]
    }

    /// A piece of a tensor, or an object that is no tensor, in a data file.
    package struct Item: Hashable, Sendable {
        package var name: String
        /// Where in its tensor the piece begins; nil for an object.
        package var offsets: [UInt64]?
        /// Into `files`.
        package var file: Int
        /// Bytes in the file.
        package var range: Range<UInt64>
        /// Whether the bytes went through an extension, compression say, and are not in the form of their format.
        package var isTransformed: Bool
    }

    /// In the order of the file.
    package let tensors: [Tensor]
    /// Names of what was saved and is no tensor.
    package let objects: [String]
    /// In the order of the file.
    package let items: [Item]
    /// Paths relative to the checkpoint's directory, in the order of first mention.
    package let files: [String]
    /// The version of the metadata, `1.0.0` today.
    package let version: String?
    /// Names the save: equal in nothing else that was ever saved.
    package let saveID: String?

    /// The metadata in `source`. Throws only what `source` throws.
    package static func read(
        _ source: any TensorByteSource, limits: TensorFileLimits = TensorFileLimits()
    ) throws -> Finding<DistributedMetadata> {
        try Finding {
            guard try source.prefix(1) == [0x80] else { throw Stop.notThisFormat("no pickle at the start") }
            var cursor = SourceCursor(
                source, 0..<source.size, ending: .endOfFile, structure: "the checkpoint's metadata")
            let graph = try PickleReader.read(&cursor, limits: limits.pickle)
            return try DistributedMetadataReader(graph, limits: limits).read()
        }
    }

    /// The least size of each file of `files`, in their order: none of its items ends behind that.
    package var requiredSizes: [UInt64] {
        var sizes = [UInt64](repeating: 0, count: files.count)
        for item in items { sizes[item.file] = max(sizes[item.file], item.range.upperBound) }
        return sizes
    }

    /// What is announced and lies in no file: names of tensors with the offsets of the piece, and of objects. Empty for a
    /// complete checkpoint.
    package var missing: [String] {
        struct Key: Hashable {
            var name: String
            var offsets: [UInt64]?
        }
        let there = Set(items.map { Key(name: $0.name, offsets: $0.offsets) })
        var missing = objects.filter { !there.contains(Key(name: $0)) }
        for tensor in tensors {
            for chunk in tensor.chunks where !there.contains(Key(name: tensor.name, offsets: chunk.offsets)) {
                // A rank that has nothing of a tensor need not write it.
                if TensorDType.elements(of: chunk.sizes) == 0 { continue }
                missing.append("\(tensor.name) at \(chunk.offsets)")
            }
        }
        return missing
    }

    /// Elements of all tensors.
    package var parameters: UInt64 {
        tensors.reduce(0) { $0 &+ (TensorDType.elements(of: $1.shape) ?? 0) }
    }

    /// The items of a data file, by where they begin.
    package func items(in file: String) -> [Item] {
        guard let number = files.firstIndex(of: file) else { return [] }
        return items.filter { $0.file == number }.sorted { $0.range.lowerBound < $1.range.lowerBound }
    }
}
