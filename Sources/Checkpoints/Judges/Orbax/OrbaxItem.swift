internal import TensorFiles

/// An item of a checkpoint of Orbax: a directory that one handler wrote.
struct OrbaxItem {
    /// Its directory.
    let directory: TreeDirectory
    /// The handler's class, where the checkpoint says so.
    let handler: String?
    let context: JudgeContext

    /// Names of handlers that write trees of arrays, at their end.
    private static let treeHandlers = ["StandardCheckpointHandler", "PyTreeCheckpointHandler"]

    /// Whether a directory looks like an item with arrays.
    static func isTree(_ directory: TreeDirectory) -> Bool {
        directory.hasFile("_METADATA") || directory.hasFile("manifest.ocdbt")
    }

    /// Holds the item against what its handler reads (`BasePyTreeCheckpointHandler.restore`,
    /// `JsonCheckpointHandler.restore`).
    func check(_ finding: inout CheckpointFinding) throws {
        if handler?.hasSuffix("JsonCheckpointHandler") == true {
            try checkJSON(&finding)
        } else if Self.isTree(directory) || Self.treeHandlers.contains(where: { handler?.hasSuffix($0) == true }) {
            try checkTree(&finding)
        } else if directory.without(["commit_success.txt"]).isEmpty {
            finding.tear(directory.path, expected: "an item that was saved", found: "an empty directory")
        } else {
            finding.note("\(TreePath.shown(directory.path)): an item of another handler, present and not judged")
        }
        if directory.hasFile("commit_success.txt") {
            finding.commitMarkers.append(directory.path("commit_success.txt"))
        }
    }

    /// The file is `metadata` unless the handler was made with another name, as the manager makes the one for `metrics`.
    private func checkJSON(_ finding: inout CheckpointFinding) throws {
        let names = directory.fileNames.filter { $0 != "commit_success.txt" }
        guard let name = names.contains("metadata") ? "metadata" : names.first else {
            return finding.tear(
                .missing(directory.path("metadata"), because: "the item's JSON file, which its handler reads"))
        }
        finding.accept(try context.json(directory.path(name), keeping: []), of: directory.path(name))
    }

    private func checkTree(_ finding: inout CheckpointFinding) throws {
        let metadataPath = directory.path("_METADATA")
        var metadata: JSONValue?
        if directory.hasFile("_METADATA") {
            metadata = finding.accept(try context.json(metadataPath), of: metadataPath)
            finding.commitMarkers.append(metadataPath)
        } else if handler != nil {
            finding.tear(.missing(metadataPath, because: "the tree's structure, which its handler reads"))
        } else {
            finding.doubt("\(metadataPath) is not there, as in checkpoints of old versions of Orbax")
        }
        for name in try companions() { finding.accept(try context.json(name, keeping: []), of: name) }
        let strings = directory.path("_strings.json")
        if metadata?["tree_metadata"]?.members?.values.contains(where: {
            $0["value_metadata"]?["value_type"]?.text == "string"
        }) == true {
            finding.accept(try context.json(strings, keeping: []), of: strings)
        }
        let usesDatabase: Bool
        if case .bool(let value)? = metadata?["use_ocdbt"] {
            usesDatabase = value
        } else {
            usesDatabase = directory.hasFile("manifest.ocdbt")
        }
        if usesDatabase {
            let manifest = directory.path("manifest.ocdbt")
            guard directory.hasFile("manifest.ocdbt") else {
                return finding.tear(.missing(manifest, because: "the arrays' database"))
            }
            finding.commitMarkers.insert(manifest, at: max(finding.commitMarkers.count - 1, 0))
            try OCDBTDatabase(path: directory.path, context: context).check(&finding)
        } else if let metadata {
            try checkArrays(metadata, &finding)
        }
    }

    /// JSON files that a restore reads when they are there, and fails on when they are damaged.
    private func companions() throws -> [String] {
        var paths = directory.hasFile("_sharding") ? [directory.path("_sharding")] : []
        if directory.hasDirectory("array_metadatas"),
            let inner = try context.directory(directory.path("array_metadatas"))
        {
            paths += inner.fileNames.filter { $0.hasPrefix("process_") }.map { inner.path($0) }
        }
        return paths
    }

    /// Arrays in directories of their own, of the names of the tree's leaves.
    private func checkArrays(_ metadata: JSONValue, _ finding: inout CheckpointFinding) throws {
        let header = metadata["use_zarr3"] == .bool(true) ? "zarr.json" : ".zarray"
        let isFull = metadata["store_array_data_equal_to_fill_value"] == .bool(true)
        guard let leaves = metadata["tree_metadata"]?.members else {
            return finding.doubt("\(directory.path("_METADATA")) names no arrays")
        }
        for (_, leaf) in leaves.sorted(by: { $0.key < $1.key }) {
            guard let keys = leaf["key_metadata"]?.elements,
                let type = leaf["value_metadata"]?["value_type"]?.text,
                ["jax.Array", "np.ndarray", "scalar"].contains(type)
            else { continue }
            let name = keys.map { $0["key"]?.text ?? $0["key"]?.integer.map { "\($0)" } ?? "" }.joined(separator: ".")
            let path = directory.path(TreePath.join(name, header))
            guard let array = finding.accept(try context.read(path) { try ZarrArray.read($0) }, of: path) else {
                continue
            }
            try count(array, &finding)
            if isFull, let expected = array.chunkCount { try checkChunks(path, expected, &finding) }
        }
    }

    /// The chunks of an array of which each was written: the files below its directory but the header at `path`.
    private func checkChunks(_ path: String, _ expected: UInt64, _ finding: inout CheckpointFinding) throws {
        let root = TreePath.parent(path)
        var chunks: UInt64 = 0
        try context.walk(root) { place, entry in
            guard entry.kind == .file, place != path else { return entry.kind == .directory }
            chunks += 1
            if entry.size == 0 { finding.tear(place, expected: "a chunk of the array", found: "an empty file") }
            return false
        }
        if chunks < expected { finding.tear(root, expected: "\(expected) chunks of the array", found: "\(chunks)") }
    }

    private func count(_ array: ZarrArray, _ finding: inout CheckpointFinding) throws {
        guard let dtype = array.dtype, let elements = TensorDType.elements(of: array.shape),
            let bytes = dtype.byteCount(elements: elements)
        else { return }
        finding.count([TensorLayout.Total(dtype: dtype, tensors: 1, elements: elements, bytes: bytes)])
    }
}
