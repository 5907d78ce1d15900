internal import TensorFiles

/// The files of a repository at a commit, as `snapshot_download` writes them down in `trees/COMMIT.json`
/// (`_tree_cache.py`).
struct HubListing: Sendable {
    struct File: Sendable {
        /// Relative to the snapshot.
        var path: String
        var size: UInt64
        /// The name of its blob: SHA-256 of a large file, Git's SHA-1 of another.
        var etag: String
    }

    private(set) var files: [File] = []

    /// The listing at `path`; nil when there is none, or it is of a version that the library would pass over too.
    static func read(_ path: String, _ context: JudgeContext) throws -> HubListing? {
        guard try context.file(path) != nil,
            let value = try context.json(path, keeping: ["format_version", "files"]).value,
            value["format_version"]?.integer == 1, let members = value["files"]?.members
        else { return nil }
        var listing = HubListing()
        for (name, entry) in members.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            guard let size = entry["size"]?.integer, size >= 0, let blob = entry["blob_id"]?.text,
                !name.split(separator: "/", omittingEmptySubsequences: false).contains(where: {
                    $0.isEmpty || $0 == ".."
                })
            else { return nil }
            let large = entry["lfs_sha256"]?.text
            let largeSize = entry["lfs_size"]?.integer.flatMap { UInt64(exactly: $0) }
            listing.files.append(
                File(path: name, size: large == nil ? UInt64(size) : largeSize ?? UInt64(size), etag: large ?? blob))
        }
        return listing
    }

    /// Holds files against the listing (`_raise_if_incomplete_snapshot`).
    ///
    /// A file that is not there may never have been asked for, so it is evidence only when its download was begun.
    ///
    /// - Parameters:
    ///   - root: where the files are, relative to the tree's root.
    ///   - begun: etags of downloads that have not ended.
    ///   - changed: paths of files that their user has changed since, whose size says nothing.
    func check(
        at root: String, begun: Set<String>, changed: Set<String> = [], _ finding: inout CheckpointFinding,
        _ context: JudgeContext
    ) throws {
        var missing = 0
        for file in files {
            let path = TreePath.join(root, file.path)
            switch try context.resolve(path) {
            case .found(_, let entry):
                guard entry.kind == .file else {
                    finding.tear(path, expected: "a file", found: "something else")
                    continue
                }
                if entry.size != file.size, !changed.contains(path) {
                    finding.tear(path, expected: "\(file.size) bytes, as the hub lists it", found: "\(entry.size)")
                }
            case .missing where begun.contains(file.etag):
                finding.tear(path, expected: "a file of \(file.size) bytes", found: "a download that has not ended")
            case .missing: missing += 1
            // Told of by whoever looks at the links.
            case .dangling, .outside: continue
            }
        }
        if missing > 0 {
            finding.doubt(
                "\(missing) of \(files.count) files that the hub lists are not in \(TreePath.shown(root)): never asked for, "
                    + "or not fetched")
        }
    }
}

/// Names under which `huggingface_hub` keeps content, and content that is held to them.
enum HubBlob {
    /// Whether a name is the SHA-256 of a large file or Git's SHA-1 of another.
    static func isDigest(_ name: String) -> Bool {
        [40, 64].contains(name.utf8.count)
            && name.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    /// The etag of a download that has not ended, by the name of its file: `ETAG.incomplete`, `ETAG.1a2b3c4d.incomplete`,
    /// and with a short hash before it in a local directory. Nil for another name.
    static func begun(_ name: String) -> String? {
        guard name.hasSuffix(".incomplete") else { return nil }
        return name.split(separator: ".").map { String($0) }.first { isDigest($0) } ?? ""
    }

    /// Reads the file at `path` and holds it to the digest `name`.
    static func check(
        _ path: String, is name: String, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws {
        guard isDigest(name) else { return finding.note("\(path) has a name that is no digest, and was not checked") }
        let isLarge = name.utf8.count == 64
        let read = try context.digest(path, isLarge ? .sha256 : .sha1) { size in
            isLarge ? [] : Array("blob \(size)\0".utf8)
        }
        guard let read else { return finding.note("digests were not checked") }
        guard let found = finding.accept(read, of: path), found != name else { return }
        finding.tear(
            path, expected: "content with the \(isLarge ? "SHA-256" : "Git SHA-1") \(name)", found: found)
    }
}
