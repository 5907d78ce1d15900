internal import Checkpoints

/// A file that was named as a source, to be judged by itself.
struct NamedFile {
    private let tree: SingleFileTree

    /// The file at `path`, absolute and raw; nil when it is no regular file, or its path no text. Blocks.
    init?(_ path: [UInt8]) {
        guard let path = String(validating: path, as: UTF8.self),
            let parent = try? LocalTree("/" + TreePath.parent(path)),
            let entry = try? parent.entry(TreePath.name(path)), entry.kind == .file
        else { return nil }
        tree = SingleFileTree(parent, file: TreePath.name(path))
    }

    /// What it is, if it is anything. Throws what the options' `progress` throws.
    func findings(_ options: SurveyOptions) throws -> [CheckpointFinding] {
        try Survey(tree, options: options).findings(at: "")
    }
}
