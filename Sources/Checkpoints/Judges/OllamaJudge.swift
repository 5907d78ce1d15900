internal import TensorFiles

/// A store of Ollama: manifests by the names of models, and blobs by the SHA-256 of their content.
package struct OllamaJudge: Judge {
    package let format = CheckpointFormat.ollama

    package init() {}

    /// Where manifests lie, as files; and as links to blobs, as newer versions keep them.
    private static let manifests = ["manifests", "manifests-v2"]
    private static let blobs = "blobs"
    /// Models in a store; host, namespace, model, tag.
    private static let mostModels = 10_000, depth = 4

    package func recognises(_ directory: TreeDirectory) -> Bool {
        directory.hasDirectory(Self.blobs) && Self.manifests.contains { directory.hasDirectory($0) }
    }

    package func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        guard let blobs = try context.directory(directory.path(Self.blobs)) else { return nil }
        var models: [CheckpointFinding] = []
        var used: Set<String> = []
        var isPartial = false
        for name in Self.manifests where directory.hasDirectory(name) {
            let root = directory.path(name)
            guard try context.directory(root) != nil else { continue }
            try context.walk(root) { path, entry in
                let depth = path.dropFirst(root.utf8.count + 1).split(separator: "/").count
                if entry.kind == .directory { return depth < Self.depth }
                guard depth == Self.depth, entry.kind == .file || entry.isLink else { return false }
                guard models.count < Self.mostModels else {
                    isPartial = true
                    return false
                }
                models.append(try model(path, entry, blobs, &used, context))
                return false
            }
        }
        let stored = blobs.fileNames.filter { Self.digest($0) != nil }
        let partial = blobs.fileNames.filter { $0.hasPrefix("sha256") && $0.contains("-partial") }
        guard !models.isEmpty || !stored.isEmpty || !partial.isEmpty else { return nil }
        models.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        var store = CheckpointFinding(path: directory.path, kind: .cache, format: .ollama)
        let unused = stored.filter { !used.contains($0) }.map { blobs.path($0) }
        store.contents = .files(unused)
        store.inProgress = partial.map { blobs.path($0) }
        store.isEmpty = models.isEmpty && stored.isEmpty
        if isPartial { store.doubt("it has more than \(Self.mostModels) models, of which only those were looked at") }
        if !unused.isEmpty { store.note("\(unused.count) blobs belong to no model") }
        if !partial.isEmpty { store.note("\(partial.count) files of downloads that have not ended") }
        return .entries(Set(Self.manifests + [Self.blobs]), [store] + models)
    }

    /// The digest in the name of a blob, today's or that of versions before 0.1.30; nil for another name.
    private static func digest(_ name: String) -> String? {
        guard name.hasPrefix("sha256-") || name.hasPrefix("sha256:") else { return nil }
        let digits = name.dropFirst("sha256-".count)
        guard digits.utf8.count == 64, digits.allSatisfy({ $0.isHexDigit && !$0.isUppercase }) else { return nil }
        return String(digits)
    }

    /// A model: its manifest and what that names (`ParseNamedManifest`, `BlobsPath`).
    private func model(
        _ path: String, _ entry: TreeEntry, _ blobs: TreeDirectory, _ used: inout Set<String>, _ context: JudgeContext
    ) throws -> CheckpointFinding {
        var finding = CheckpointFinding(path: path, kind: .model, format: .ollama)
        finding.commitMarkers = [path]
        finding.modified = entry.modified
        var files = [path]
        if entry.isLink, let blob = try blob(of: path, &finding, context) {
            used.insert(TreePath.name(blob))
            files.append(blob)
        }
        guard let manifest = finding.accept(try context.json(path), of: path) else {
            finding.contents = .files(files)
            return finding
        }
        guard let layers = manifest["layers"]?.elements, !layers.isEmpty else {
            let isList = manifest["manifests"] != nil
            finding.doubt(isList ? "\(path) is a list of manifests, one for each runner" : "\(path) names no layers")
            finding.contents = .files(files)
            return finding
        }
        // A blob may be named twice.
        var seen: Set<String> = []
        for layer in [manifest["config"]].compactMap({ $0 }) + layers {
            guard let text = layer["digest"]?.text, !text.isEmpty, seen.insert(text).inserted else { continue }
            guard let digest = Self.digest(text) else {
                finding.doubt("\(path) names a blob by no SHA-256")
                continue
            }
            // Not by the listing, which may be only a part of a large directory.
            let names = ["sha256-\(digest)", "sha256:\(digest)"]
            guard let name = try names.first(where: { try context.tree.entry(blobs.path($0)) != nil }) else {
                finding.tear(.missing(blobs.path("sha256-\(digest)"), because: "a layer that \(path) names"))
                continue
            }
            used.insert(name)
            files.append(blobs.path(name))
            try check(blobs.path(name), digest, layer["size"]?.integer, &finding, context)
        }
        finding.contents = .files(files)
        return finding
    }

    /// The blob that a manifest is a link to, held to its name at any depth, as `OpenVerifiedManifest` does; nil for none.
    private func blob(
        of path: String, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws -> String? {
        guard case .found(let blob, let entry) = try context.resolve(path), entry.kind == .file else { return nil }
        guard let digest = Self.digest(TreePath.name(blob)) else {
            finding.tear(path, expected: "a link to a blob", found: "one to \(blob)")
            return nil
        }
        if let found = try context.digest(blob, .sha256).flatMap({ finding.accept($0, of: blob) }), found != digest {
            finding.tear(blob, expected: "content with the SHA-256 of its name", found: found)
        }
        return blob
    }

    private func check(
        _ path: String, _ digest: String, _ size: Int64?, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws {
        guard let blob = try context.file(path) else {
            return finding.tear(path, expected: "a layer", found: "no file, or a link to nothing")
        }
        if let size {
            guard blob.size == UInt64(clamping: size) else {
                return finding.tear(path, expected: "\(size) bytes, as the manifest says", found: "\(blob.size)")
            }
        } else {
            finding.doubt("the manifest does not say how large \(path) is")
        }
        guard context.isDeep else { return }
        guard let read = try context.digest(path, .sha256) else { return finding.note("digests were not checked") }
        guard let found = finding.accept(read, of: path), found != digest else { return }
        finding.tear(path, expected: "content with the SHA-256 of its name", found: found)
    }
}
