internal import TensorFiles

/// Checkpoints of Orbax, with which JAX, Flax and MaxText save: a directory for each step, in it one for each item, or the
/// one item itself.
///
/// A save is a directory of a temporary name that is renamed (`AtomicRenameTemporaryPath.finalize`), or one that gets a
/// `commit_success.txt` (`CommitFileTemporaryPath`, object stores). On a file system the name alone decides what is
/// picked, and a loader does not look for the file.
package struct OrbaxJudge: Judge {
    package let format = CheckpointFormat.orbax

    package init() {}

    private static let metadataName = "_CHECKPOINT_METADATA", committedName = "commit_success.txt"

    package func recognises(_ directory: TreeDirectory) -> Bool {
        if OrbaxName.withoutTemporary(directory.name) != nil || directory.hasFile(Self.metadataName) { return true }
        if OrbaxItem.isTree(directory) { return true }
        // Older versions wrote nothing into the step's directory itself.
        return OrbaxName(directory.name) != nil && !directory.directoryNames.isEmpty
    }

    package func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        var finding = CheckpointFinding(path: directory.path, format: .orbax)
        finding.quarantineName = "\(directory.name).torn"
        if let name = OrbaxName.withoutTemporary(directory.name) {
            finding.step = OrbaxName(name)?.step
            finding.inProgress = [directory.path]
            finding.quarantineName = nil
            finding.tear(
                directory.path, expected: "the name \(name), which a save gives it at the end",
                found: "the temporary name \(directory.name)")
            return .everything(finding)
        }
        finding.step = OrbaxName(directory.name)?.step
        guard let items = try items(directory, &finding, context) else { return nil }
        for item in items { try item.check(&finding) }
        // Versions that saved each item by itself left those of a save that was cut short.
        finding.inProgress = directory.directoryNames.filter { OrbaxName.withoutTemporary($0) != nil }.map {
            directory.path($0)
        }
        for marker in [Self.metadataName, Self.committedName] where directory.hasFile(marker) {
            let path = directory.path(marker)
            finding.commitMarkers.removeAll { $0 == path }
            finding.commitMarkers.append(path)
        }
        finding.modified = directory.entries.map(\.modified).max()
        return .everything(finding)
    }

    /// The items of a checkpoint, and whether the checkpoint says that it was committed; nil when it is none.
    private func items(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws -> [OrbaxItem]? {
        let isCommitted = directory.hasFile(Self.committedName)
        guard directory.hasFile(Self.metadataName) else {
            let items = try found(in: directory, context)
            guard !items.isEmpty else { return nil }
            if !isCommitted { finding.note("no record of a commit, as older versions of Orbax wrote none") }
            return items
        }
        let path = directory.path(Self.metadataName)
        guard let metadata = try context.json(path).value else {
            // A restore goes on without it.
            finding.doubt("\(path) cannot be read, and it alone says which items there are")
            return try found(in: directory, context)
        }
        if !isCommitted, metadata["commit_timestamp_nsecs"]?.integer ?? 0 <= 0 {
            finding.doubt(
                "\(path) has no time of commit and there is no \(Self.committedName): an object store's rule calls it "
                    + "unfinished, a file system's does not")
        }
        switch metadata["item_handlers"] {
        case .string(let handler)?: return [OrbaxItem(directory: directory, handler: handler, context: context)]
        case .object(let handlers)?:
            var items: [OrbaxItem] = []
            for (name, handler) in handlers.sorted(by: { $0.key < $1.key }) {
                guard let inner = try context.directory(directory.path(name)) else {
                    finding.tear(.missing(directory.path(name), because: "the item that \(Self.metadataName) lists"))
                    continue
                }
                items.append(OrbaxItem(directory: inner, handler: handler.text, context: context))
            }
            return items
        default:
            let items = try found(in: directory, context)
            if items.isEmpty { finding.doubt("\(path) lists no items, and none was found") }
            return items
        }
    }

    /// What looks like an item, where nothing says which there are.
    private func found(in directory: TreeDirectory, _ context: JudgeContext) throws -> [OrbaxItem] {
        if try isTree(directory, context) { return [OrbaxItem(directory: directory, handler: nil, context: context)] }
        return try directory.directoryNames.compactMap { name in
            guard OrbaxName.withoutTemporary(name) == nil, let inner = try context.directory(directory.path(name)),
                try isTree(inner, context)
            else { return nil }
            return OrbaxItem(directory: inner, handler: nil, context: context)
        }
    }

    /// Whether a directory is an item with arrays beyond doubt: others may call a file `_METADATA` as well.
    private func isTree(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Bool {
        guard OrbaxItem.isTree(directory) else { return false }
        let own = ["manifest.ocdbt", "_sharding", Self.committedName]
        if own.contains(where: { directory.hasFile($0) }) || directory.hasDirectory("array_metadatas") { return true }
        return try context.json(directory.path("_METADATA"), keeping: ["tree_metadata"]).value?["tree_metadata"] != nil
    }

    /// `CheckpointManager.latest_step`: the highest number among the names that are not temporary.
    package func run(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
    ) throws -> RunFinding? {
        var own: [String: FoundCheckpoint] = [:]
        for checkpoint in found where TreePath.parent(checkpoint.path) == directory.path {
            if checkpoint.format == .flax { return nil }
            if checkpoint.format == .orbax, checkpoint.path != directory.path { own[checkpoint.path] = checkpoint }
        }
        let names = own.keys.compactMap { OrbaxName(TreePath.name($0)) }
        guard let prefix = names.map(\.prefix).max() else { return nil }
        // What holds nothing that a judge knows is picked all the same.
        let candidates = try directory.directoryNames.compactMap { name -> (step: Int64, found: FoundCheckpoint)? in
            guard let parsed = OrbaxName(name), parsed.prefix == prefix else { return nil }
            if let known = own[directory.path(name)] { return (parsed.step, known) }
            var unknown = CheckpointFinding(path: directory.path(name), format: .orbax)
            unknown.step = parsed.step
            unknown.isEmpty = try context.directory(unknown.path)?.isEmpty ?? false
            if !unknown.isEmpty { unknown.doubt("nothing of Orbax in it") }
            return (parsed.step, FoundCheckpoint(unknown))
        }.sorted { $0.step < $1.step }.map(\.found)
        var run = RunFinding(path: directory.path, format: .orbax)
        run.resumes(from: candidates.last, rule: "the highest step", among: candidates)
        return run
    }
}
