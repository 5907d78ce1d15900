/// Goes through a tree once, and gives what it meets to the judges.
///
/// Memory does not grow with the number of files: a directory at a time is held, with those it lies in, and a short
/// record of each finding until its run is judged. Symbolic links to directories are not entered. Used by one thread.
package struct Survey {
    /// What a survey comes upon.
    package enum Event: Sendable {
        case checkpoint(CheckpointFinding)
        /// Comes after all checkpoints in it.
        case run(RunFinding)
        /// A directory that could not be read, or not wholly; its path, and why.
        case unread(String, reason: String)
    }

    private let tree: any StateTree
    private let options: SurveyOptions
    private let judges: [any Judge]

    package init(
        _ tree: any StateTree, options: SurveyOptions = SurveyOptions(), judges: [any Judge] = Judges.all
    ) {
        self.tree = tree
        self.options = options
        self.judges = judges
    }

    /// Looks at the whole tree. Throws what `emit` and the options' `progress` throw, and nothing else: what cannot be
    /// read is an event.
    package func run(_ emit: (Event) throws -> Void) throws {
        let walk = SurveyWalk(tree, options: options, judges: judges)
        var pending: [(path: String, names: [String])] = []
        func enter(_ path: String) throws {
            pending.append((path, try walk.enter(path, emit).directoryNames.reversed()))
        }
        try enter("")
        while let last = pending.indices.last {
            if let name = pending[last].names.popLast() {
                try enter(TreePath.join(pending[last].path, name))
            } else {
                try walk.leave(emit)
                pending.removeLast()
            }
        }
    }

    /// What the judges find at one directory, now, as `run` does when it comes there. Throws what the options'
    /// `progress` throws.
    package func findings(at path: String) throws -> [CheckpointFinding] {
        var findings: [CheckpointFinding] = []
        _ = try SurveyWalk(tree, options: options, judges: judges).enter(path) { event in
            if case .checkpoint(let finding) = event { findings.append(finding) }
        }
        return findings
    }
}
