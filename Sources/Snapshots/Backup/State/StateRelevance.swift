/// Which files of a checkpoint its state is in, by their names: for files that no judge has opened.
enum StateRelevance {
    private static let suffixes = [
        ".pt", ".pth", ".bin", ".ckpt", ".tar", ".nemo", ".safetensors", ".distcp", ".msgpack", ".npz", ".gguf",
        ".metadata", ".index.json",
    ]

    /// Whether the file at `path` holds tensors or what a loader needs to find them.
    static func holds(_ path: String) -> Bool { suffixes.contains { path.hasSuffix($0) } }
}
