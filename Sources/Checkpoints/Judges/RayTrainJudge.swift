internal import TensorFiles

/// Runs of Ray Train: directories `checkpoint_…`, whose content is the user's, and since version 2 of its API a
/// `checkpoint_manager_snapshot.json` that lists those that were committed.
package struct RayTrainJudge: Judge {
    package let format = CheckpointFormat.rayTrain
    package let trackerNames: Set<String> = [snapshot]

    package init() {}

    private static let snapshot = "checkpoint_manager_snapshot.json"
    /// One of them lies in a trial's directory of version 1 (`ray.air.constants`, `ray.tune.result`).
    private static let oldFiles: Set<String> = [
        ".validate_storage_marker", "result.json", "params.pkl", "params.json", "progress.csv", "tuner.pkl",
    ]

    /// Whether a name is one that Ray gives: a time since version 2, a number before.
    private static func isCheckpoint(_ name: String) -> Bool {
        guard name.hasPrefix("checkpoint_") else { return false }
        let rest = name.dropFirst("checkpoint_".count).utf8
        return rest.first.map { (0x30...0x39).contains($0) } ?? false
    }

    private static func isOldCheckpoint(_ name: String) -> Bool {
        guard let digits = name.hasPrefix("checkpoint_") ? name.utf8.dropFirst("checkpoint_".count) : nil else {
            return false
        }
        return digits.count == 6 && digits.allSatisfy { (0x30...0x39).contains($0) }
    }

    package func recognises(_ directory: TreeDirectory) -> Bool {
        if directory.hasFile(Self.snapshot) { return true }
        return directory.directoryNames.contains(where: Self.isOldCheckpoint)
            && directory.fileNames.contains { Self.oldFiles.contains($0) }
    }

    package func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        let isNew = directory.hasFile(Self.snapshot)
        let state = isNew ? try Snapshot.read(directory.path(Self.snapshot), context) : nil
        var names: Set<String> = isNew ? [Self.snapshot] : []
        let committed = Set(state?.value?.results.map(\.name) ?? [])
        var findings: [CheckpointFinding] = []
        for name in directory.directoryNames
        where isNew ? Self.isCheckpoint(name) || committed.contains(name) : Self.isOldCheckpoint(name) {
            names.insert(name)
            var finding = CheckpointFinding(path: directory.path(name), format: .rayTrain)
            finding.modified = directory[name]?.modified
            try checkParts(&finding, context)
            if !isNew {
                finding.step = name.number(after: "checkpoint_")
                finding.doubt("Ray Train wrote no record of a commit before version 2")
            } else if let state = state?.value {
                if let result = state.results.first(where: { $0.name == name }) {
                    finding.step = result.step
                } else {
                    finding.doubt("\(Self.snapshot) does not list it: it was not committed")
                }
            } else {
                finding.doubt("\(Self.snapshot) cannot be read: \(state?.reason ?? "")")
            }
            findings.append(finding)
        }
        guard isNew || !findings.isEmpty else { return nil }
        return .entries(names, findings)
    }

    /// What a checkpoint holds, by the other judges; what none knows is nobody's.
    private func checkParts(_ finding: inout CheckpointFinding, _ context: JudgeContext) throws {
        guard let directory = try context.directory(finding.path), !directory.isEmpty else {
            finding.isEmpty = true
            return
        }
        let parts = try PartsJudgement(context: context, judges: Judges.all).findings(in: finding.path)
        for part in parts {
            finding.absorb(part)
            if part.judgement == .empty { finding.doubt("\(part.path) is empty") }
        }
        let formats = Set(parts.map(\.format.rawValue)).sorted()
        finding.note(formats.isEmpty ? "nothing in it that is judged" : "holds \(formats.joined(separator: ", "))")
    }

    /// What `checkpoint_manager_snapshot.json` says (`_CheckpointManagerState`).
    struct Snapshot: Sendable {
        struct Result: Sendable {
            var name: String
            var step: Int64?
        }

        var results: [Result] = []
        /// The name of the newest; nil when there is none yet.
        var latest: String?

        /// Names of metrics that are a step.
        private static let steps = ["global_step", "step", "training_iteration"]

        static func read(_ path: String, _ context: JudgeContext) throws -> Finding<Snapshot> {
            let json = try context.json(path, keeping: ["checkpoint_results", "latest_checkpoint_result"])
            switch json {
            case .complete(let value): return parse(value)
            case .torn(let evidence): return .torn(evidence)
            case .notThisFormat(let reason): return .notThisFormat(reason)
            case .unsupported(let reason): return .unsupported(reason)
            }
        }

        private static func parse(_ value: JSONValue) -> Finding<Snapshot> {
            var snapshot = Snapshot()
            guard let results = value["checkpoint_results"]?.elements else {
                return .unsupported("it lists no checkpoint_results")
            }
            for result in results {
                guard let name = result["checkpoint_dir_name"]?.text, !name.isEmpty,
                    !name.split(separator: "/").contains("..")
                else { return .unsupported("a result without a directory's name") }
                let step = steps.lazy.compactMap { result["metrics"]?[$0]?.integer }.first
                snapshot.results.append(Result(name: name, step: step))
            }
            if let latest = value["latest_checkpoint_result"], latest != .null {
                guard let name = latest["checkpoint_dir_name"]?.text else {
                    return .unsupported("a latest result without a directory's name")
                }
                snapshot.latest = name
            }
            return .complete(snapshot)
        }
    }

    /// `CheckpointManager._load_state`: the latest result, once every listed directory was found to be there.
    package func run(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
    ) throws -> RunFinding? {
        guard directory.hasFile(Self.snapshot) else { return nil }
        let path = directory.path(Self.snapshot)
        let own = found.filter { $0.format == .rayTrain && TreePath.parent($0.path) == directory.path }
        let candidates = own.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        var run = RunFinding(path: directory.path, format: .rayTrain)
        run.trackers = [path]
        let read = try Snapshot.read(path, context)
        guard let snapshot = read.value else {
            run.resumes(from: nil, rule: Self.snapshot, among: candidates)
            run.warn(.trackerUnusable, "\(path) cannot be read, and Ray fails to start: \(read.reason ?? "")")
            return run
        }
        let missing = try snapshot.results.filter { try context.directory(directory.path($0.name)) == nil }
        let picked = snapshot.latest.flatMap { latest in own.first { $0.path == directory.path(latest) } }
        run.resumes(from: picked, rule: "latest_checkpoint_result in \(Self.snapshot)", among: candidates)
        if let latest = snapshot.latest {
            if picked == nil {
                run.resume = RunFinding.Resume(path: directory.path(latest), rule: "latest_checkpoint_result")
            }
            if !snapshot.results.contains(where: { $0.name == latest }) {
                run.warn(
                    .trackerUnusable, "\(path) calls \(latest) the latest and does not list it: Ray fails to start")
            }
        }
        for result in missing {
            run.warn(
                .trackerNamesMissing,
                "\(path) lists \(result.name), which is not there: Ray fails to start (CheckpointManagerInitializationError)"
            )
        }
        return run
    }
}
