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

    private static let mostKeptEntries = 1000
    private let context: JudgeContext
    private let judges: [any Judge]

    package init(
        _ tree: any StateTree, options: SurveyOptions = SurveyOptions(), judges: [any Judge] = Judges.all
    ) {
        context = JudgeContext(tree, options: options)
        self.judges = judges
    }

    /// A directory under way.
    private struct Frame {
        var path: String
        /// Nil when it is too large to be kept while those in it are looked at.
        var directory: TreeDirectory?
        /// Names of directories in it that are still to be entered, the next one last.
        var pending: [String]
        var found: [FoundCheckpoint] = []
    }

    /// Looks at the whole tree. Throws what `emit` and the options' `progress` throw, and nothing else: what cannot be
    /// read is an event.
    package func run(_ emit: (Event) throws -> Void) throws {
        do {
            var frames: [Frame] = []
            try enter("", &frames, emit)
            while let last = frames.indices.last {
                if let name = frames[last].pending.popLast() {
                    try enter(TreePath.join(frames[last].path, name), &frames, emit)
                    continue
                }
                let frame = frames.removeLast()
                try judgeRuns(frame, emit)
                if frames.isEmpty { break }
                let room = max(context.options.remembered - frames[last - 1].found.count, 0)
                frames[last - 1].found += frame.found.prefix(room)
            }
        } catch let stop as SurveyStop {
            throw stop.cause
        }
    }

    private func enter(_ path: String, _ frames: inout [Frame], _ emit: (Event) throws -> Void) throws {
        guard frames.count < context.options.depthOfTree else {
            return try emit(.unread(path, reason: "too many directories inside directories"))
        }
        let directory: TreeDirectory
        do {
            guard let read = try context.directory(path) else { return }
            directory = read
        } catch let stop as SurveyStop {
            throw stop
        } catch {
            return try emit(.unread(path, reason: "\(error)"))
        }
        if directory.isPartial {
            let limit = context.options.directoryEntries
            try emit(.unread(path, reason: "it has more than \(limit) entries, of which only those were looked at"))
        }
        var frame = Frame(
            path: path, directory: directory.entries.count <= Self.mostKeptEntries ? directory : nil, pending: [])
        let left = try judge(directory, &frame.found, emit)
        frame.pending = left.directoryNames.reversed()
        frames.append(frame)
    }

    /// Gives the directory to each judge; returns it without what they claimed.
    private func judge(
        _ directory: TreeDirectory, _ found: inout [FoundCheckpoint], _ emit: (Event) throws -> Void
    ) throws -> TreeDirectory {
        var left = directory
        for judge in judges where judge.recognises(left) {
            let claim: Claim
            _ = context.takePartial()
            do {
                guard let made = try judge.judge(left, context) else { continue }
                claim = made
            } catch let stop as SurveyStop {
                throw stop
            } catch {
                var finding = CheckpointFinding(path: directory.path, format: judge.format)
                finding.doubt("it cannot be read: \(error)")
                try report(finding, in: directory, &found, emit)
                // What another judge would find in it is not known either; what lies deeper may be.
                return TreeDirectory(path: left.path, entries: left.entries.filter { $0.kind == .directory })
            }
            let partial = directory.isPartial ? directory.path : context.takePartial()
            for var finding in claim.findings {
                if let partial { finding.doubt("\(TreePath.shown(partial)) has too many entries to look at") }
                try report(finding, in: directory, &found, emit)
            }
            switch claim.extent {
            case .everything: return TreeDirectory(path: left.path, entries: [])
            case .entries(let names): left = left.without(names)
            }
        }
        return left
    }

    private func report(
        _ finding: CheckpointFinding, in directory: TreeDirectory, _ found: inout [FoundCheckpoint],
        _ emit: (Event) throws -> Void
    ) throws {
        var finding = finding
        if finding.judgement != .torn { finding.quarantineName = nil }
        if finding.bytes == nil { try measure(&finding) }
        if found.count < context.options.remembered { found.append(FoundCheckpoint(finding)) }
        try emit(.checkpoint(finding))
    }

    /// Counts the bytes of what belongs to it, without what is in progress and secret.
    private func measure(_ finding: inout CheckpointFinding) throws {
        var bytes: UInt64 = 0
        do {
            switch finding.contents {
            case .directory:
                let leftOut = Set(finding.inProgress + finding.secrets)
                try context.walk(finding.path) { path, entry in
                    guard !leftOut.contains(path) else { return false }
                    bytes &+= entry.size
                    return true
                }
            case .files(let paths): for path in paths { bytes &+= try context.file(path)?.size ?? 0 }
            }
            finding.bytes = bytes
        } catch let stop as SurveyStop {
            throw stop
        } catch {
            finding.doubt("its size is not known: \(error)")
        }
    }

    private func judgeRuns(_ frame: Frame, _ emit: (Event) throws -> Void) throws {
        guard !frame.found.isEmpty else { return }
        for judge in judges {
            let event: Event
            do {
                guard let directory = try frame.directory ?? context.directory(frame.path),
                    let run = try judge.run(directory, frame.found, context)
                else { continue }
                event = .run(run)
            } catch let stop as SurveyStop {
                throw stop
            } catch {
                event = .unread(frame.path, reason: "what \(judge.format.rawValue) resumes from: \(error)")
            }
            try emit(event)
        }
    }
}
