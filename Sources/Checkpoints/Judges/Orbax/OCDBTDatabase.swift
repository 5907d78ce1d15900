internal import Basics
internal import TensorFiles

/// A database of TensorStore's `ocdbt` driver, in which Orbax keeps arrays: a manifest, and files of nodes and values.
///
/// Whole when the manifest and every node of its newest version can be read, with their checksums, and every value that
/// the leaves refer to lies within its file. Values have no checksum.
struct OCDBTDatabase {
    /// Its directory.
    let path: String
    let context: JudgeContext

    /// Nodes read, and bytes of them once opened: a second or two.
    private static let mostNodes = 1 << 16, mostOpened = 512 << 20
    /// Files with values, some 150 bytes each.
    private static let mostFiles = 1 << 17
    /// Arrays counted.
    private static let mostArrays = 1 << 16

    /// Holds the database against its rules.
    func check(_ finding: inout CheckpointFinding) throws {
        var extents: [String: UInt64] = [:]
        var file = "manifest.ocdbt"
        do {
            let manifest = try OCDBTManifest(try block(file, nil, magic: OCDBTBlock.manifest))
            guard let root = manifest.root else { return finding.note("\(TreePath.shown(path)): an empty database") }
            var pending = [root]
            var seen: Set<OCDBTReference> = [root.reference]
            var opened = 0
            var arrays = 0
            while let (place, height) = pending.popLast() {
                file = place.path
                let body = try block(file, place, magic: OCDBTBlock.node)
                opened += body.count
                let node = try OCDBTNode(body, base: place.base)
                guard node.height == height else {
                    throw OCDBTFault.damaged("a node of height \(node.height) where one of \(height) belongs")
                }
                for child in node.children where seen.insert(child).inserted { pending.append((child, height - 1)) }
                for (name, end) in node.extents { extents[name] = max(extents[name] ?? 0, end) }
                guard seen.count <= Self.mostNodes, opened <= Self.mostOpened, extents.count <= Self.mostFiles else {
                    throw OCDBTFault.unsupported("the database is larger than a survey follows")
                }
                for header in node.headers where arrays < Self.mostArrays {
                    arrays += 1
                    try count(header, &finding)
                }
            }
        } catch let fault as OCDBTFault {
            let place = inner(file)
            switch fault {
            case .torn(let evidence): finding.tear(Evidence(file: place, evidence))
            case .unsupported(let reason): finding.doubt("\(place): \(reason)")
            }
            return
        } catch let malformed as ByteReader.Malformed {
            return finding.tear(inner(file), expected: "a structure of an OCDBT database", found: "\(malformed)")
        }
        try hold(extents, &finding)
    }

    /// Values against the files that they lie in.
    private func hold(_ extents: [String: UInt64], _ finding: inout CheckpointFinding) throws {
        for (name, end) in extents.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            guard let entry = try context.file(inner(name)) else {
                finding.tear(.missing(inner(name), because: "the tree in manifest.ocdbt refers to values in it"))
                continue
            }
            guard entry.size >= end else {
                finding.tear(inner(name), expected: "values up to byte \(end)", found: "\(entry.size) bytes")
                continue
            }
        }
    }

    private func inner(_ name: String) -> String { TreePath.join(path, name) }

    /// The opened body of the structure in a file: all of the file, or the part that `place` says.
    private func block(_ name: String, _ place: OCDBTReference?, magic: UInt32) throws -> [UInt8] {
        // TensorStore follows paths out of the database; none that Orbax writes leads there.
        guard
            !name.split(separator: "/", omittingEmptySubsequences: false).contains(where: { ["..", "."].contains($0) })
        else { throw OCDBTFault.unsupported("a path out of the database") }
        let finding = try context.read(inner(name)) { source -> Finding<[UInt8]> in
            let range: Range<UInt64>
            if let place {
                guard place.offset + place.length <= source.size else {
                    let end = place.offset + place.length
                    return .torn(
                        TornEvidence(
                            kind: .truncated, message: "a node ends at byte \(end), the file at byte \(source.size)",
                            expectedSize: end))
                }
                range = place.offset..<place.offset + place.length
            } else {
                range = 0..<source.size
            }
            guard range.upperBound - range.lowerBound <= UInt64(OCDBTBlock.mostBytes) else {
                return .unsupported("a structure of \(range.upperBound - range.lowerBound) bytes")
            }
            let bytes = try source.bytes(range)
            try context.progress(bytes.count)
            guard bytes.count == range.count else { return .unsupported("the file shrank while it was read") }
            return .complete(bytes)
        }
        switch finding {
        case .complete(let bytes): return try OCDBTBlock.open(bytes, magic: magic, zstd: context.options.zstd)
        case .torn(let evidence): throw OCDBTFault.torn(evidence)
        case .notThisFormat(let reason), .unsupported(let reason): throw OCDBTFault.unsupported(reason)
        }
    }

    /// Adds an array to the totals. What cannot be read is left out of them: the array's own reader judges it.
    private func count(_ header: [UInt8], _ finding: inout CheckpointFinding) throws {
        let array = try ZarrArray.read(MemoryBytes(bytes: header), limits: context.options.files)
        guard let array = array.value, let dtype = array.dtype, let elements = TensorDType.elements(of: array.shape),
            let bytes = dtype.byteCount(elements: elements)
        else { return }
        finding.count([TensorLayout.Total(dtype: dtype, tensors: 1, elements: elements, bytes: bytes)])
    }
}
