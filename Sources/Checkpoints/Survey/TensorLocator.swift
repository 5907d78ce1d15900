internal import TensorFiles

/// Tells which tensors lie in parts of a file.
package enum TensorLocator {
    /// The names of the tensors that have bytes in `ranges`, in the file's order, at most so many. Nil when the file is
    /// none of tensors, or what says where they lie cannot be read. Only ever what the file's own header says, or the
    /// metadata of the distributed checkpoint that it is a data file of.
    package static func tensors(
        in ranges: [Range<UInt64>], of file: String, tree: any StateTree, atMost limit: Int
    ) -> [String]? {
        guard let regions = items(of: file, tree) ?? layout(of: file, tree) else { return nil }
        var names: [String] = []
        var next = ranges.makeIterator()
        var range = next.next()
        for region in regions where !region.range.isEmpty {
            while let lost = range, lost.upperBound <= region.range.lowerBound { range = next.next() }
            guard let lost = range, names.count < limit else { break }
            if lost.overlaps(region.range) { names.append(region.name) }
        }
        return names
    }

    private typealias Region = (name: String, range: Range<UInt64>)

    /// By the file itself.
    private static func layout(of file: String, _ tree: any StateTree) -> [Region]? {
        // What cannot be read tells nothing, for whatever reason.
        guard let source = try? tree.open(file), case .complete(let layout)? = try? TensorFile.layout(source) else {
            return nil
        }
        return layout.regions.map { ($0.name, $0.range) }
    }

    /// By the checkpoint's metadata, `.metadata` or `__RANK.metadata`: an item is known there whatever became of it.
    private static func items(of file: String, _ tree: any StateTree) -> [Region]? {
        let (directory, name) = (TreePath.parent(file), TreePath.name(file))
        guard name.hasSuffix(".distcp") else { return nil }
        let rank = name.split(separator: "_").first.map { "__\($0).metadata" }
        for candidate in [".metadata", rank].compactMap({ $0 }) {
            guard let source = try? tree.open(TreePath.join(directory, candidate)),
                case .complete(let metadata)? = try? DistributedMetadata.read(source)
            else { continue }
            let items = metadata.items(in: name).filter { $0.offsets != nil }
            guard !items.isEmpty else { continue }
            return items.map { (DistributedDataFile.name(of: $0), $0.range) }
                .sorted { $0.range.lowerBound < $1.range.lowerBound }
        }
        return nil
    }
}
