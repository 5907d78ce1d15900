internal import Basics
internal import Checkpoints
internal import Repository
internal import RepositoryFormat

extension StateWatch {
    /// A watch over the source at `path`, which stands in the snapshot as `name`; nil when it is no directory or nothing is
    /// to be judged. A file is judged at once. Throws `IncompleteState` and what ends the pass. Blocks.
    static func over(_ path: [UInt8], as name: [UInt8], _ context: BackupContext) throws -> StateWatch? {
        guard var options = context.request.judging else { return nil }
        let told = options.progress
        options.progress = {
            try context.check()
            try told($0)
        }
        let policy = StatePolicy(
            context.request, now: context.session.repository.options.clock.now().nanoseconds)
        context.states.began(path, root: String(decoding: name, as: UTF8.self))
        if isLink(path) { return nil }
        if let watch = StateWatch(source: path, root: name, policy: policy, options: options, ledger: context.states) {
            return watch
        }
        for finding in try NamedFile(path)?.findings(options) ?? [] {
            try policy.check(finding, below: "")
            context.states.add(finding, below: "")
        }
        return nil
    }

    /// Whether a symbolic link was named, which is stored as such.
    private static func isLink(_ path: [UInt8]) -> Bool {
        guard path.last != UInt8(ascii: "/"), let slash = path.lastIndex(of: UInt8(ascii: "/")),
            let parent = try? DirectoryHandle.open(path: slash == 0 ? [UInt8(ascii: "/")] : Array(path[..<slash])),
            let status = try? parent.status(of: Array(path[(slash + 1)...]))
        else { return false }
        return status.type == .symbolicLink
    }

    /// Judges all sources before anything is stored, where complete checkpoints are required. Throws `IncompleteState`, and
    /// what `check` throws. Blocks.
    static func requireComplete(_ request: BackupRequest, check: @escaping @Sendable () throws -> Void) throws {
        guard request.requiresComplete, var options = request.judging else { return }
        let told = options.progress
        options.progress = {
            try check()
            try told($0)
        }
        let policy = StatePolicy(request, now: 0)
        for source in request.paths {
            if isLink(source) { continue }
            let root = String(decoding: SourceWalker.rootName(source), as: UTF8.self)
            guard let path = String(validating: source, as: UTF8.self), let tree = try? LocalTree(path) else {
                for finding in try NamedFile(source)?.findings(options) ?? [] { try policy.check(finding, below: "") }
                continue
            }
            try Survey(tree, options: options).run { event in
                if case .checkpoint(let finding) = event { try policy.check(finding, below: root) }
            }
        }
    }
}

extension StatePolicy {
    /// Throws `IncompleteState` for what keeps the snapshot from holding complete checkpoints only.
    func check(_ finding: CheckpointFinding, below root: String) throws {
        guard requiresComplete, finding.isUnfinished else { return }
        let state = StateInventory.State(finding, below: root)
        guard !excludes(state) else { return }
        throw IncompleteState(state)
    }
}
