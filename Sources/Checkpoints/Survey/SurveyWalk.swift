/// Judges a tree directory by directory, at the pace of whoever goes through it: parents before what lies in them, each left
/// after all that lies in it.
///
/// Memory does not grow with the number of files: see `Survey`. Used by one thread.
package final class SurveyWalk {
    private static let mostKeptEntries = 1000
    private let context: JudgeContext
    private let judges: [any Judge]
    /// Those of all judges.
    private let knownTrackers: Set<String>
    private var frames: [Frame] = []

    package init(
        _ tree: any StateTree, options: SurveyOptions = SurveyOptions(), judges: [any Judge] = Judges.all
    ) {
        context = JudgeContext(tree, options: options)
        self.judges = judges
        knownTrackers = judges.reduce(into: []) { $0.formUnion($1.trackerNames) }
    }

    /// A directory under way.
    private struct Frame {
        var path: String
        /// Nil when it is too large to be kept while those in it are looked at.
        var directory: TreeDirectory?
        /// What lies in it and is not claimed by a finding.
        var left: TreeDirectory
        var found: [FoundCheckpoint] = []
        /// Names in it that a job is not to see.
        var hidden: Set<String> = []
    }

    /// Judges the directory at `path`, unless it belongs to something that was found around it. Returns what lies in it
    /// and is part of nothing found so far: directories in there are worth entering.
    ///
    /// Throws what `emit` and the options' `progress` throw, and nothing else: what cannot be read is an event.
    ///
    /// - Parameter entries: all that is in the directory, where the caller has looked; it is listed otherwise.
    package func enter(
        _ path: String, entries: [TreeEntry]? = nil, _ emit: (Survey.Event) throws -> Void
    ) throws -> TreeDirectory {
        var frame = Frame(path: path, left: TreeDirectory(path: path, entries: []))
        do {
            if frames.last.map({ $0.left[TreePath.name(path)]?.kind == .directory }) ?? true {
                try judge(&frame, entries, emit)
            }
        } catch let stop as SurveyStop {
            throw stop.cause
        }
        frames.append(frame)
        return frame.left
    }

    /// Leaves the directory that was entered last, and judges what a job would resume from in it. Throws as `enter` does.
    package func leave(_ emit: (Survey.Event) throws -> Void) throws {
        guard let frame = frames.popLast() else { return }
        do {
            try judgeRuns(frame, emit)
        } catch let stop as SurveyStop {
            throw stop.cause
        }
        guard let parent = frames.indices.last else { return }
        let room = max(context.options.remembered - frames[parent].found.count, 0)
        frames[parent].found += frame.found.prefix(room)
    }

    /// Names among `entries` of what tells a job which checkpoint is the newest: files that judges know, and symbolic links
    /// that say so themselves.
    package func trackers(among entries: [TreeEntry]) -> [String] {
        entries.filter { entry in
            entry.kind == .file && knownTrackers.contains(entry.name)
                || entry.isLink && (entry.name.hasPrefix("latest") || entry.name.hasPrefix("last"))
        }.map(\.name)
    }

    /// Takes what was found at `path`, in the directory entered last, from what its job may resume from, as if it were not
    /// there.
    package func forget(_ path: String) {
        guard let last = frames.indices.last else { return }
        frames[last].found.removeAll { $0.path == path }
        guard !path.isEmpty, let holder = frames.lastIndex(where: { $0.path == TreePath.parent(path) }) else { return }
        frames[holder].hidden.insert(TreePath.name(path))
    }

    private func judge(
        _ frame: inout Frame, _ entries: [TreeEntry]?, _ emit: (Survey.Event) throws -> Void
    ) throws {
        let path = frame.path
        guard frames.count < context.options.depthOfTree else {
            return try emit(.unread(path, reason: "too many directories inside directories"))
        }
        let directory: TreeDirectory
        do {
            guard let read = try entries.map({ try context.directory(path, entries: $0) }) ?? context.directory(path)
            else { return }
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
        let left = try judge(directory, &frame.found, emit)
        guard directory.entries.count > Self.mostKeptEntries else {
            frame.directory = directory
            frame.left = left
            return
        }
        frame.left = TreeDirectory(path: path, entries: left.entries.filter { $0.kind == .directory })
    }

    /// Gives the directory to each judge; returns it without what they claimed.
    private func judge(
        _ directory: TreeDirectory, _ found: inout [FoundCheckpoint], _ emit: (Survey.Event) throws -> Void
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
        _ emit: (Survey.Event) throws -> Void
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

    private func judgeRuns(_ frame: Frame, _ emit: (Survey.Event) throws -> Void) throws {
        guard !frame.found.isEmpty else { return }
        for judge in judges {
            let event: Survey.Event
            do {
                guard let directory = try frame.directory ?? context.directory(frame.path),
                    let run = try judge.run(directory.without(frame.hidden), frame.found, context)
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
