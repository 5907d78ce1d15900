internal import TensorFiles

/// What `hf download --local-dir` and `snapshot_download(local_dir:)` fetched: the files themselves, and what is known of
/// them in `.cache/huggingface` (`_local_folder.py`).
package struct HubDownloadJudge: Judge {
    package let format = CheckpointFormat.huggingFaceCache

    package init() {}

    private static let inner = ".cache/huggingface"
    private static let suffix = ".metadata"
    private static let mostFiles = 100_000

    /// What is known of a file: where it lies relative to the directory, of what commit it is, its etag, and when the
    /// library wrote that down, in seconds since 1970.
    private struct Known {
        var name: String
        var commit: String
        var etag: String
        var time: Double
    }

    package func recognises(_ directory: TreeDirectory) -> Bool { directory.hasDirectory(".cache") }

    package func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        // In a home directory it is the cache's own place.
        guard let inner = try context.directory(directory.path(Self.inner)), inner.hasDirectory("download"),
            !inner.hasDirectory("hub")
        else { return nil }
        var finding = CheckpointFinding(path: directory.path, kind: .model, format: .huggingFaceCache)
        let (known, begun) = try known(inner, &finding, context)
        guard !known.isEmpty || !begun.isEmpty else { return nil }
        var names = Set(known.map { String($0.name.prefix { $0 != "/" }) }).filter { directory[$0] != nil }
        var files: [String] = []
        var changed: Set<String> = []
        for file in known {
            let path = directory.path(file.name)
            guard let entry = try context.file(path) else {
                finding.doubt("\(path) was downloaded, and is not there now")
                continue
            }
            files.append(path)
            finding.modified = max(finding.modified ?? entry.modified, entry.modified)
            // As the library does: a file that was changed since is the user's own.
            if Double(entry.modified) / 1e9 - 1 > file.time {
                changed.insert(path)
                finding.note("\(path) was changed since it was downloaded")
            } else if context.isDeep {
                try HubBlob.check(path, is: file.etag, &finding, context)
            }
        }
        for commit in Set(known.map(\.commit)).sorted() where HubBlob.isDigest(commit) {
            let path = inner.path("trees/\(commit).json")
            guard let listing = try HubListing.read(path, context) else { continue }
            finding.commitMarkers.append(path)
            if Set(known.map(\.commit)).count == 1 {
                try listing.check(at: directory.path, begun: begun, changed: changed, &finding, context)
            }
        }
        let places = Set(known.map { TreePath.parent(directory.path($0.name)) }).sorted()
        for place in places {
            guard let listed = try context.directory(place) else { continue }
            try HubWeights(directory: listed, context: context).check(&finding)
        }
        try collect(inner, &files, context)
        finding.contents = .files(files)
        if try context.directory(directory.path(".cache"))?.entries.count == 1 { names.insert(".cache") }
        return .entries(names, [finding])
    }

    /// What the `.metadata` files say, and the etags of downloads that have not ended. Adds the locks and the unfinished
    /// files to what is in progress.
    private func known(
        _ inner: TreeDirectory, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws -> (files: [Known], begun: Set<String>) {
        var files: [Known] = []
        var begun: Set<String> = []
        let root = inner.path("download")
        try context.walk(root) { path, entry in
            guard entry.kind == .file else { return entry.kind == .directory }
            if let etag = HubBlob.begun(entry.name) {
                begun.insert(etag)
                finding.inProgress.append(path)
            } else if entry.name.hasSuffix(".lock") {
                finding.inProgress.append(path)
            } else if entry.name.hasSuffix(Self.suffix), files.count < Self.mostFiles {
                let name = String(path.dropFirst(root.utf8.count + 1).dropLast(Self.suffix.count))
                guard let text = try context.text(path).value else { return false }
                let lines = text.split(whereSeparator: \.isNewline).map { String($0).trimmed }
                guard lines.count == 3, let time = Double(lines[2]) else {
                    finding.note("\(path) is damaged: the file will be hashed or fetched again")
                    return false
                }
                files.append(Known(name: name, commit: lines[0], etag: lines[1], time: time))
            }
            return false
        }
        files.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        return (files, begun)
    }

    /// Adds what the library keeps beside the files.
    private func collect(_ inner: TreeDirectory, _ files: inout [String], _ context: JudgeContext) throws {
        var collected: [String] = []
        try context.walk(inner.path) { path, entry in
            guard entry.kind == .file else { return entry.kind == .directory }
            if HubBlob.begun(entry.name) == nil, !entry.name.hasSuffix(".lock"), collected.count < Self.mostFiles {
                collected.append(path)
            }
            return false
        }
        files += collected.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}
