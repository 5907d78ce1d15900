/// The cache of `huggingface_hub` (`HF_HUB_CACHE`), and the directory around it (`HF_HOME`), which holds secrets.
package struct HubCacheJudge: Judge {
    package let format = CheckpointFormat.huggingFaceCache

    package init() {}

    /// What the library keeps beside repositories and does not need again.
    private static let disposable = [".locks"]
    /// The name of `HF_HOME` unless the user chose another.
    private static let homeName = "huggingface"
    /// In `HF_HOME`: tokens, and what is fetched or made anew.
    private static let secretNames = ["token", "stored_tokens"]
    private static let homeDisposable = [
        "xet", "assets", "stored_tokens.lock", ".check_for_update_done", ".check_for_skill_update_done",
        ".agent_harnesses.json",
    ]
    private static let beside = ["CACHEDIR.TAG", "version.txt", "version_diffusers_cache.txt"]
    /// Marks a store of blobs that repositories share (`_shared_blobs.py`).
    private static let sharedMarker = ".huggingface-shared-blobs"

    package func recognises(_ directory: TreeDirectory) -> Bool {
        directory.directoryNames.contains { HubRepository.isName($0) } || directory.hasDirectory("hub")
            || directory.name == Self.homeName
    }

    package func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        let repositories = directory.directoryNames.filter { HubRepository.isName($0) }
        guard repositories.isEmpty else { return try cache(directory, repositories, context) }
        return try home(directory, context)
    }

    private func cache(
        _ directory: TreeDirectory, _ repositories: [String], _ context: JudgeContext
    ) throws -> Claim? {
        var findings: [CheckpointFinding] = []
        var names: Set<String> = []
        for name in repositories {
            guard let repository = try context.directory(directory.path(name)),
                ["blobs", "snapshots", "refs"].contains(where: { repository.hasDirectory($0) })
            else { continue }
            names.insert(name)
            findings.append(try HubRepository(directory: repository, context: context).judge())
        }
        guard !findings.isEmpty else { return nil }
        var store = CheckpointFinding(
            path: directory.path, kind: .cache, format: .huggingFaceCache, contents: .files([]))
        store.note("\(findings.count) repositories")
        var files = Self.beside.filter { directory.hasFile($0) }
        names.formUnion(files)
        if files.contains("CACHEDIR.TAG") {
            store.note("\(directory.path("CACHEDIR.TAG")) makes many backup programs pass over the cache")
        }
        for name in Self.disposable where directory[name] != nil {
            names.insert(name)
            store.inProgress.append(directory.path(name))
        }
        if let shared = try context.directory(directory.path("blobs")), shared.hasFile(Self.sharedMarker) {
            names.insert("blobs")
            try context.walk(shared.path) { path, entry in
                guard entry.kind == .file else { return true }
                if path.hasSuffix(".lock") || path.hasSuffix(".incomplete") {
                    store.inProgress.append(path)
                } else if files.count < context.options.directoryEntries {
                    files.append(String(path.dropFirst(directory.path("").utf8.count).drop { $0 == "/" }))
                }
                return false
            }
        }
        store.contents = .files(files.map { directory.path($0) })
        return .entries(names, [store] + findings)
    }

    /// `HF_HOME`: what must not leave the machine and what need not. Its `hub` is judged when the survey comes there.
    private func home(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        let hub = try context.directory(directory.path("hub"))
        guard
            directory.name == Self.homeName || hub?.directoryNames.contains(where: { HubRepository.isName($0) }) == true
        else { return nil }
        let secrets = Self.secretNames.filter { directory.hasFile($0) }
        // Anything may be called so: what a cache can do without is only known beside a cache, or a token.
        let isHome = !secrets.isEmpty || hub?.directoryNames.contains { HubRepository.isName($0) } == true
        let disposable = isHome ? Self.homeDisposable.filter { directory[$0] != nil } : []
        guard !secrets.isEmpty || !disposable.isEmpty else { return nil }
        var finding = CheckpointFinding(
            path: directory.path, kind: .cache, format: .huggingFaceCache, contents: .files([]))
        finding.secrets = secrets.map { directory.path($0) }
        finding.inProgress = disposable.map { directory.path($0) }
        finding.note("the directory around the hub's cache: tokens, and what is made anew")
        return .entries(Set(secrets + disposable), [finding])
    }
}
