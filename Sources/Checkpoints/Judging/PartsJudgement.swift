/// Judges what lies in a directory whose layout is its user's, for a judge that knows only the frame around it.
struct PartsJudgement {
    let context: JudgeContext
    let judges: [any Judge]
    /// Directories that are looked at.
    private static let mostDirectories = 10_000

    /// The findings in and below the directory at `path`, each of which takes what it takes.
    func findings(in path: String) throws -> [CheckpointFinding] {
        var findings: [CheckpointFinding] = []
        var pending = [path]
        var entered = 0
        while let place = pending.popLast() {
            guard let directory = try context.directory(place) else { continue }
            entered += 1
            guard entered <= Self.mostDirectories else {
                var finding = CheckpointFinding(path: path, format: .torch)
                finding.doubt(
                    "it has more than \(Self.mostDirectories) directories, of which only those were looked at")
                return findings + [finding]
            }
            var left = directory
            for judge in judges where judge.recognises(left) {
                guard let claim = try judge.judge(left, context) else { continue }
                findings += claim.findings
                switch claim.extent {
                case .everything: left = TreeDirectory(path: place, entries: [])
                case .entries(let names): left = left.without(names)
                }
            }
            pending += left.directoryNames.reversed().map { directory.path($0) }
        }
        return findings
    }
}
