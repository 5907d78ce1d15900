internal import TensorFiles

/// A repository in the cache of `huggingface_hub`: `models--ORGANISATION--NAME`.
struct HubRepository {
    let directory: TreeDirectory
    let context: JudgeContext

    /// Whether a directory's name is that of one (`REPO_TYPES_MAPPING`).
    static func isName(_ name: String) -> Bool {
        ["models--", "datasets--", "spaces--", "kernels--"].contains { name.hasPrefix($0) }
    }

    private static let mostRefs = 1000

    /// Judges all of it: what its refs lead to must be whole. A snapshot that no ref leads to counts only when there are
    /// no refs, for what asks for it names its commit.
    func judge() throws -> CheckpointFinding {
        let isModel = directory.name.hasPrefix("models--")
        var finding = CheckpointFinding(
            path: directory.path, kind: isModel ? .model : .cache, format: .huggingFaceCache)
        let refs = try refs(&finding)
        let snapshots = try context.directory(directory.path("snapshots"))?.directoryNames ?? []
        let blobs = try context.directory(directory.path("blobs"))
        let unfinished = blobs?.fileNames.filter { HubBlob.begun($0) != nil } ?? []
        finding.inProgress = unfinished.compactMap { blobs?.path($0) }
        if let trees = try context.directory(directory.path("trees")) {
            for name in trees.fileNames {
                let path = trees.path(name)
                if name.hasSuffix(".tmp") {
                    finding.inProgress.append(path)
                } else {
                    finding.commitMarkers.append(path)
                }
            }
        }
        finding.commitMarkers += refs.map(\.path)
        guard !snapshots.isEmpty else {
            // Something was asked for that the repository has not, or a download has just begun.
            let isBegun = !(blobs?.isEmpty ?? true)
            finding.isEmpty = !isBegun
            if isBegun { finding.tear(directory.path("snapshots"), expected: "a snapshot", found: "only blobs") }
            return finding
        }
        let begun = Set(unfinished.compactMap { HubBlob.begun($0) })
        if refs.isEmpty { finding.note("no ref: without a network it is found by its commit only") }
        for ref in refs where !snapshots.contains(ref.commit) {
            finding.tear(
                ref.path, expected: "a commit of which there is a snapshot",
                found: "\(ref.commit), of which there is none")
        }
        let wanted = Set(refs.map(\.commit))
        for commit in snapshots {
            var part = CheckpointFinding(path: directory.path, format: .huggingFaceCache)
            try check(commit, begun, &part)
            if refs.isEmpty || wanted.contains(commit) {
                finding.absorb(part)
            } else if part.judgement != .complete {
                finding.note("the snapshot \(commit), to which no ref leads, is \(part.judgement.rawValue)")
            }
        }
        if context.isDeep, let blobs {
            for name in blobs.fileNames where HubBlob.begun(name) == nil {
                // A link leads to the store that repositories share; its content is the same.
                try HubBlob.check(blobs.path(name), is: name, &finding, context)
            }
        }
        return finding
    }

    /// The refs: `refs/main`, `refs/refs/pr/1`. One that holds no commit is evidence: the library takes it as it stands.
    private func refs(_ finding: inout CheckpointFinding) throws -> [(path: String, commit: String)] {
        var refs: [(path: String, commit: String)] = []
        let root = directory.path("refs")
        guard try context.directory(root) != nil else { return [] }
        try context.walk(root) { path, entry in
            guard entry.kind == .file else { return entry.kind == .directory }
            guard refs.count < Self.mostRefs else {
                finding.doubt("\(root) has more than \(Self.mostRefs) refs")
                return false
            }
            // With what is around it: the library takes a new line at the end for a part of the commit.
            let read = try context.read(path) { source in
                .complete(String(decoding: try source.bytes(0..<min(source.size, 256)), as: UTF8.self))
            }
            guard let text = finding.accept(read, of: path) else { return false }
            if text.utf8.count == 40, HubBlob.isDigest(text) {
                refs.append((path, text))
            } else {
                finding.tear(
                    path, expected: "a commit",
                    found: text.isEmpty ? "an empty file" : String(reflecting: String(text.prefix(64))))
            }
            return false
        }
        return refs.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    }

    private func check(_ commit: String, _ begun: Set<String>, _ finding: inout CheckpointFinding) throws {
        let root = directory.path("snapshots/\(commit)")
        var directories = [root]
        try context.walk(root) { path, entry in
            switch entry.kind {
            case .directory:
                if directories.count < context.options.directoryEntries { directories.append(path) }
                return true
            case .symlink(let target):
                switch try context.resolve(path) {
                case .dangling: finding.tear(path, expected: "a blob at \(target)", found: "nothing")
                case .outside: finding.doubt("\(path) leads out of what was looked at: \(target)")
                case .found, .missing: break
                }
            case .file, .other: break
            }
            return false
        }
        let listing = try HubListing.read(directory.path("trees/\(commit).json"), context)
        if let listing {
            try listing.check(at: root, begun: begun, &finding, context)
            if context.isDeep { try checkCopies(listing, root, &finding) }
        } else {
            finding.note("no listing of the commit \(commit): a file that was never asked for is not missed")
        }
        for place in directories {
            guard let directory = try context.directory(place) else { continue }
            try HubWeights(directory: directory, context: context).check(&finding)
        }
    }

    /// Files where links should be, as on file systems that have none.
    private func checkCopies(_ listing: HubListing, _ root: String, _ finding: inout CheckpointFinding) throws {
        for file in listing.files {
            let path = TreePath.join(root, file.path)
            guard let entry = try context.tree.entry(path), entry.kind == .file else { continue }
            try HubBlob.check(path, is: file.etag, &finding, context)
        }
    }
}

/// The weights among the files of a download.
struct HubWeights {
    let directory: TreeDirectory
    let context: JudgeContext

    /// Holds sets of weights against their rules. An index none of whose files is there is a note, or a doubt when there
    /// are no other weights: patterns such as `*.json` fetch it alone.
    func check(_ finding: inout CheckpointFinding) throws {
        var claimed: Set<String> = []
        var sets = 0
        var lonely: [String] = []
        for set in WeightSet.indexed(in: directory) {
            guard let files = try set.check(&finding, context) else {
                if case .index(let name) = set.kind { lonely.append(name) }
                continue
            }
            sets += 1
            claimed.formUnion(files.map { TreePath.name($0) })
        }
        let left = directory.without(claimed)
        for (suffix, format) in [(".safetensors", TensorLayout.Format.safetensors), (".gguf", .gguf)] {
            for set in WeightSet.find(in: left, suffix: suffix, format: format) {
                sets += 1
                _ = try set.check(&finding, context)
            }
        }
        for name in lonely {
            let fact = "none of the files that \(directory.path(name)) names is there"
            if sets > 0 { finding.note(fact) } else { finding.doubt(fact) }
        }
    }
}
