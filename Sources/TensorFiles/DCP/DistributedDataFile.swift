/// A data file of a PyTorch distributed checkpoint, `__0_0.distcp`: items one behind the other without gaps, each of them
/// all that `torch.save` writes of one tensor or object.
package enum DistributedDataFile {
    /// Where the tensors of a data file lie.
    ///
    /// - Parameters:
    ///   - items: the file's items by the checkpoint's metadata, which give the tensors their names. Without them the
    ///     items are found from the end, for each ends with a record of its own length, and are named `item 0` and so on.
    /// - Returns: complete when all items are. Throws only what `source` throws.
    package static func read(
        _ source: any TensorByteSource, items: [DistributedMetadata.Item]? = nil,
        limits: TensorFileLimits = TensorFileLimits()
    ) throws -> Finding<TensorLayout> {
        try Finding {
            let found = try items.map { try named($0, source) } ?? unnamed(source, limits)
            var regions: [TensorLayout.Region] = []
            for item in found {
                let slice = SourceSlice(source, item.range)
                let file = try within(item.name) { try TorchFile.parse(slice, limits) }
                guard regions.count + file.layout.regions.count <= limits.tensors else {
                    throw Stop.unsupported("the data file has more than \(limits.tensors) tensors")
                }
                for var region in file.layout.regions {
                    region.name = region.name.isEmpty ? item.name : "\(item.name).\(region.name)"
                    region.range =
                        item.range.lowerBound + region.range.lowerBound..<item.range.lowerBound
                        + region.range.upperBound
                    regions.append(region)
                }
            }
            return try TensorLayout(format: .distributed, size: source.size, regions: regions)
        }
    }

    /// The item's own form of a piece's name: the tensor's, and where the piece begins unless that is the start.
    package static func name(of item: DistributedMetadata.Item) -> String {
        guard let offsets = item.offsets, offsets.contains(where: { $0 > 0 }) else { return item.name }
        return "\(item.name)[\(offsets.map { "\($0)" }.joined(separator: ","))]"
    }

    private static func named(
        _ items: [DistributedMetadata.Item], _ source: any TensorByteSource
    ) throws -> [(name: String, range: Range<UInt64>)] {
        let needed = items.map(\.range.upperBound).max() ?? 0
        guard needed <= source.size else {
            throw Stop.truncated(
                "the items end at byte \(needed), the file at byte \(source.size)", expectedSize: needed)
        }
        return try items.map { item in
            guard !item.isTransformed else {
                throw Stop.unsupported("\"\(item.name)\" went through an extension of the checkpoint's writer")
            }
            return (name(of: item), item.range)
        }
    }

    private static func unnamed(
        _ source: any TensorByteSource, _ limits: TensorFileLimits
    ) throws -> [(name: String, range: Range<UInt64>)] {
        guard try source.prefix(4) == ZipArchive.localSignature else {
            throw Stop.notThisFormat("no zip member at the start")
        }
        var ranges: [Range<UInt64>] = []
        var end = source.size
        while end > 0 {
            guard let start = try ZipDirectory.start(ofArchiveEndingAt: end, in: source),
                try source.bytes(at: start, count: 4) == ZipArchive.localSignature
            else {
                guard ranges.isEmpty else { throw Stop.damaged("what ends at byte \(end) is no item") }
                throw Stop.truncated("the data file ends inside an item")
            }
            guard ranges.count < limits.tensors else {
                throw Stop.unsupported("the data file has more than \(limits.tensors) items")
            }
            ranges.append(start..<end)
            end = start
        }
        return ranges.reversed().enumerated().map { ("item \($0.offset)", $0.element) }
    }

    /// Says which item a finding is about.
    private static func within<Value>(_ name: String, _ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch Stop.torn(var evidence) {
            evidence.message = "\"\(name)\": \(evidence.message)"
            evidence.expectedSize = nil
            // The file has the bytes: what is wrong is in them.
            evidence.kind = .damaged
            throw Stop.torn(evidence)
        } catch Stop.notThisFormat(let message) {
            throw Stop.unsupported("\"\(name)\" is no torch file: \(message)")
        } catch Stop.unsupported(let message) {
            throw Stop.unsupported("\"\(name)\": \(message)")
        }
    }
}
