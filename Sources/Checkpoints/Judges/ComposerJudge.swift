internal import TensorFiles

/// Checkpoints of MosaicML's Composer: files `ep1-ba200-rank0.pt`, and links `latest-rank0.pt` to the newest. Only rank 0
/// writes one today; earlier versions and DeepSpeed wrote one for each rank. What is sharded is a directory `ep1-ba200`,
/// a distributed checkpoint, and the other judge's.
package struct ComposerJudge: Judge {
    package let format = CheckpointFormat.composer

    package init() {}

    /// The parts of a file's name (`CheckpointSaver`, `filename`).
    struct Name: Hashable {
        let epoch: Int64
        let batch: Int64
        let rank: Int64
        /// `.pt`, or what else follows.
        let suffix: String

        init?(_ name: String) {
            var rest = Substring(name)
            func number(after word: String) -> Int64? {
                guard rest.hasPrefix(word) else { return nil }
                rest = rest.dropFirst(word.count)
                let digits = rest.utf8.prefix { (0x30...0x39).contains($0) }.count
                // More digits than any run has would only overflow somewhere.
                guard digits <= 12 else { return nil }
                defer { rest = rest.dropFirst(digits) }
                return Int64(rest.prefix(digits))
            }
            guard let epoch = number(after: "ep"), let batch = number(after: "-ba"), let rank = number(after: "-rank")
            else { return nil }
            guard rest.isEmpty || rest.hasPrefix(".") else { return nil }
            self.epoch = epoch
            self.batch = batch
            self.rank = rank
            suffix = String(rest)
        }
    }

    private static let latest = "latest-rank"

    package func recognises(_ directory: TreeDirectory) -> Bool {
        directory.fileNames.contains { Name($0) != nil }
    }

    package func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        struct Key: Hashable {
            var epoch: Int64
            var batch: Int64
            var suffix: String
        }
        var groups: [Key: [(rank: Int64, name: String)]] = [:]
        for name in directory.fileNames {
            guard let parsed = Name(name) else { continue }
            groups[Key(epoch: parsed.epoch, batch: parsed.batch, suffix: parsed.suffix), default: []].append(
                (parsed.rank, name))
        }
        let most = groups.values.map(\.count).max() ?? 0
        var findings: [CheckpointFinding] = []
        var names = Set(directory.fileNames.filter { $0.hasPrefix(Self.latest) })
        for (key, files) in groups.sorted(by: { ($0.key.batch, $0.key.epoch) < ($1.key.batch, $1.key.epoch) }) {
            let ranks = files.sorted { $0.rank < $1.rank }
            names.formUnion(ranks.map(\.name))
            var finding = CheckpointFinding(
                path: directory.path(ranks[0].name), format: .composer,
                contents: .files(ranks.map { directory.path($0.name) }))
            finding.step = key.batch
            finding.modified = ranks.compactMap { directory[$0.name]?.modified }.max()
            try check(ranks, key.suffix, directory, &finding, context)
            if ranks.count < most {
                finding.doubt("\(ranks.count) ranks wrote it, \(most) another one in \(TreePath.shown(directory.path))")
            }
            findings.append(finding)
        }
        return .entries(names, findings)
    }

    private func check(
        _ ranks: [(rank: Int64, name: String)], _ suffix: String, _ directory: TreeDirectory,
        _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws {
        var next: Int64 = 0
        for (rank, name) in ranks {
            // A name may claim any rank; the first missing ones say enough.
            for missing in (next..<max(next, rank)).prefix(8) {
                let prefix = name.dropLast("\(rank)".utf8.count + suffix.utf8.count)
                let part = directory.path("\(prefix)\(missing)\(suffix)")
                // Not by the listing, which may be only a part of a large directory.
                guard try context.resolve(part) == .missing else { continue }
                finding.tear(.missing(part, because: "rank \(missing)'s part, for there is one of rank \(rank)"))
            }
            next = max(next, rank + 1)
            let path = directory.path(name)
            guard suffix == ".pt" || suffix.isEmpty else {
                finding.doubt("\(path): a compressed archive is not looked into")
                continue
            }
            guard let file = finding.accept(try context.torch(path), of: path) else { continue }
            finding.count(file.layout)
            try context.checkContent(of: file, at: path, &finding)
        }
    }

    /// `Trainer._get_autoresume_checkpoint`: what `latest-rank0.pt` leads to.
    package func run(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
    ) throws -> RunFinding? {
        let own = found.filter { checkpoint in
            TreePath.parent(checkpoint.path) == directory.path
                && (checkpoint.format == .composer || Self.batch(ofDirectory: TreePath.name(checkpoint.path)) != nil)
        }
        let links = directory.fileNames.filter { $0.hasPrefix(Self.latest) }
        guard !own.isEmpty, !links.isEmpty || own.contains(where: { $0.format == .composer }) else { return nil }
        let candidates = own.sorted { Self.batch($0) < Self.batch($1) }
        var run = RunFinding(path: directory.path, format: .composer)
        run.trackers = links.map { directory.path($0) }
        guard let first = links.first(where: { $0.hasPrefix("latest-rank0") && !$0.hasSuffix(".symlink") }) else {
            run.resumes(from: nil, rule: "latest-rank0.pt", among: candidates)
            run.warn(
                .trackerUnusable, "there is no link latest-rank0.pt, by which Composer finds its newest checkpoint")
            return run
        }
        guard case .found(let path, _) = try context.resolve(directory.path(first)) else {
            run.resumes(from: nil, rule: "the link \(first)", among: candidates)
            run.warn(.trackerNamesMissing, "the link \(directory.path(first)) leads to nothing: Composer starts anew")
            return run
        }
        let picked = candidates.first { $0.path == path }
        run.resumes(from: picked, rule: "the link \(first)", among: candidates)
        if picked == nil {
            run.resume = RunFinding.Resume(path: path, rule: "the link \(first)")
        } else if let newest = candidates.last, newest.path != path, newest.judgement != .complete {
            run.warn(.trackerDisagrees, "\(first) leads to \(path), and \(newest.path) is newer")
        }
        return run
    }

    private static func batch(ofDirectory name: String) -> Int64? { Name(name + "-rank0").map(\.batch) }

    private static func batch(_ found: FoundCheckpoint) -> Int64 {
        let name = TreePath.name(found.path)
        return found.step ?? Name(name)?.batch ?? batch(ofDirectory: name) ?? 0
    }
}
