internal import Checkpoints
internal import RepositoryFormat

/// Judges the AI state in one source while the walker goes through it, and tells what is to be left out of the snapshot.
///
/// A directory is judged by the listing that is stored; what is complete is looked at
/// again when all of it is stored (`StateGuard`, `StateFile`). Belongs to the walker's thread; blocks.
final class StateWatch {
    private let tree: OverlaidTree
    private let walk: SurveyWalk
    private let ledger: StateLedger
    private let policy: StatePolicy
    private let options: SurveyOptions
    /// The source's absolute path, and its name at the snapshot's root.
    private let source: String
    private let root: String
    /// Why what lies at a path is left out, by the path.
    private var reasons: [[UInt8]: Reason] = [:]
    /// Checkpoints to be looked at again, by the path of their directory, until the walker comes there.
    private var guards: [[UInt8]: StateGuard] = [:]
    /// States of which something was left out as asked for: once is enough.
    private var doubted: Set<[UInt8]> = []
    /// What the walker is in, from the source's root on.
    private var open: [Frame] = []

    private struct Frame {
        var path: String
        /// That of the innermost checkpoint around the directory, or of the directory itself.
        var stateGuard: StateGuard?
        /// States found at the directory, with what belongs to them.
        var found: [(state: String, path: String, files: [String]?)] = []
        /// What judges looked at to find them.
        var relied: Set<[UInt8]> = []
        var early: [String] = []
    }

    private struct Reason {
        var text: String
        /// Set for what is being written, and part of a checkpoint.
        var unfinished: StateInventory.State?

        init(text: String, unfinished: StateInventory.State? = nil) {
            self.text = text
            self.unfinished = unfinished
        }
    }

    /// A watch over the directory `source`, absolute and raw, which stands in the snapshot as `root`; nil when its path is
    /// not UTF-8, or it is no directory that can be opened.
    init?(source: [UInt8], root: [UInt8], policy: StatePolicy, options: SurveyOptions, ledger: StateLedger) {
        guard let source = String(validating: source, as: UTF8.self),
            let root = String(validating: root, as: UTF8.self),
            let local = try? LocalTree(source)
        else { return nil }
        self.source = source
        self.root = root
        tree = OverlaidTree(local)
        walk = SurveyWalk(tree, options: options)
        self.policy = policy
        self.options = options
        self.ledger = ledger
    }

    /// The path in the source of what has this path in the snapshot; nil when it is not UTF-8.
    private func text(_ path: [[UInt8]]) -> String? {
        String(validating: path.dropFirst().joined(separator: [UInt8(ascii: "/")]), as: UTF8.self)
    }

    /// The absolute path of `path`.
    private func place(_ path: String) -> [UInt8] {
        Array((path.isEmpty ? source : source == "/" ? "/\(path)" : "\(source)/\(path)").utf8)
    }

    // MARK: Directories

    /// Judges the directory at `path`, its components in the snapshot. To be followed by `leave`, whatever happens
    /// between. Throws what the survey's `progress` throws, and `IncompleteState`.
    func enter(_ path: [[UInt8]], _ listing: DirectoryListing) throws {
        // A name that is no text is not in any tree: nothing below it is judged.
        let path = text(path) ?? "\u{0}"
        open.append(Frame(path: path, stateGuard: open.last?.stateGuard, early: early))
        early = []
        tree.startRecording()
        _ = try walk.enter(path, entries: listing.entries) { event in
            if case .checkpoint(let finding) = event { try take(finding, foundAt: path) }
        }
        open[open.count - 1].relied = tree.visited
        for finding in withdrawn { walk.forget(finding) }
        withdrawn = []
        if let own = guards.removeValue(forKey: Array(path.utf8)) { open[open.count - 1].stateGuard = own }
    }

    /// Leaves the directory that was entered last. Throws what the survey's `progress` throws.
    func leave() throws {
        guard let frame = open.popLast() else { return }
        try walk.leave { event in
            if case .run(let run) = event { ledger.add(run, below: root) }
        }
        for path in frame.early { tree.forget(path) }
    }

    /// The guard of the directory entered last, when it is a checkpoint's own.
    var guardOfDirectory: StateGuard? {
        guard let last = open.last, let own = last.stateGuard,
            open.count < 2 || open[open.count - 2].stateGuard !== own
        else { return nil }
        return own
    }

    // MARK: Entries

    /// Whether the entry at `path` is left out; what is gets named.
    func leavesOut(_ path: [[UInt8]]) -> Bool {
        guard !reasons.isEmpty, let path = text(path), let reason = reasons[Array(path.utf8)] else { return false }
        if let state = reason.unfinished {
            ledger.leaveOut(place(path), reason.text, unfinished: state)
        } else {
            ledger.leaveOut(place(path), reason.text)
        }
        return true
    }

    /// Tells that a pattern leaves out the entry at `path`.
    func excludes(_ path: [[UInt8]]) {
        guard let path = text(path) else { return }
        let bytes = Array(path.utf8)
        let inside = bytes + [UInt8(ascii: "/")]
        for frame in open {
            for found in frame.found where !doubted.contains(Array(found.state.utf8)) && holds(found, path) {
                let isRelied =
                    StateRelevance.holds(path) || frame.relied.contains(bytes)
                    || frame.relied.contains { $0.starts(with: inside) }
                guard isRelied else { continue }
                doubted.insert(Array(found.state.utf8))
                ledger.doubt(found.state, "\(TreePath.name(path)) in it was left out, as was asked for")
            }
        }
    }

    private func holds(_ found: (state: String, path: String, files: [String]?), _ path: String) -> Bool {
        found.files.map { $0.contains { $0.utf8.elementsEqual(path.utf8) } } ?? TreePath.holds(found.path, path)
    }

    /// Tells of the symbolic link at `path`: one that leads to what is left out will lead nowhere in a restore, which is named.
    func sawLink(_ path: [[UInt8]]) {
        guard !reasons.isEmpty, let own = text(path), case .found(let end, _)? = try? tree.resolve(own) else { return }
        var left = end
        while reasons[Array(left.utf8)] == nil {
            guard !left.isEmpty else { return }
            left = TreePath.parent(left)
        }
        ledger.leaveOut(place(left), "the link \(own) leads to it, and will lead nowhere in a restore")
    }

    /// Tells of an entry in the directory entered last, as it is when it is stored.
    func saw(_ path: [[UInt8]], _ metadata: FileMetadata) {
        guard let last = open.last?.stateGuard, let path = text(path) else { return }
        last.saw(path, metadata)
    }

    // MARK: Trackers

    /// What was read early in the directory that is entered next.
    private var early: [String] = []

    /// Reads the files and links in a directory that its job goes by: before the directory is listed for those who judge
    /// and store it, so that none tells of a checkpoint that came later. What cannot be read so is read in its turn, like
    /// any other.
    ///
    /// - Parameters:
    ///   - path: the directory's components in the snapshot.
    ///   - listing: what was in it a moment ago.
    func readEarly(
        _ path: [[UInt8]], in directory: DirectoryHandle, _ listing: DirectoryListing, owners: OwnerNames
    ) -> [[UInt8]: EarlyReading] {
        guard let path = text(path), let entries = listing.entries else { return [:] }
        var readings: [[UInt8]: EarlyReading] = [:]
        for name in walk.trackers(among: entries) {
            let bytes = Array(name.utf8)
            guard let reading = try? EarlyReading(of: bytes, in: directory, owners: owners) else { continue }
            readings[bytes] = reading
            // It is judged by what is stored.
            guard let content = reading.content else { continue }
            early.append(TreePath.join(path, name))
            tree.replace(TreePath.join(path, name), by: content)
        }
        return readings
    }

    // MARK: Findings

    /// Findings made at the directory being entered that are left out.
    private var withdrawn: [String] = []

    private func take(_ finding: CheckpointFinding, foundAt directory: String) throws {
        let state = StateInventory.State(finding, below: root)
        if policy.excludes(state) {
            withdrawn.append(finding.path)
            return
        }
        for path in finding.secrets { reasons[Array(path.utf8)] = Reason(text: "it is a secret: a token") }
        if isBeingWritten(finding) {
            let reason = Reason(
                text: "it is being written: \(state.reasons.first ?? "nothing is in it yet")", unfinished: state)
            for path in Self.paths(finding) + finding.inProgress { reasons[Array(path.utf8)] = reason }
        } else if finding.kind != .checkpoint {
            // What is unfinished in a checkpoint that is stored says that it is, and belongs to it.
            for path in finding.inProgress where !path.isEmpty {
                reasons[Array(path.utf8)] = Reason(text: "it is unfinished, or there for the moment only")
            }
        }
        if Self.paths(finding).contains(where: { reasons[Array($0.utf8)] != nil }), finding.judgement != .complete {
            withdrawn.append(finding.path)
            if policy.requiresComplete { throw IncompleteState(state) }
            return
        }
        try policy.check(finding, below: root)
        ledger.add(finding, below: root)
        open[open.count - 1].found.append((state.path, finding.path, Self.files(finding)))
        if finding.judgement == .complete || finding.judgement == .unknown {
            try watch(finding, state.path, foundAt: directory)
        }
    }

    private static func files(_ finding: CheckpointFinding) -> [String]? {
        if case .files(let files) = finding.contents { files } else { nil }
    }

    /// What to leave out for leaving it out.
    private static func paths(_ finding: CheckpointFinding) -> [String] { files(finding) ?? [finding.path] }

    /// Has what is not torn looked at again once it is stored. What can be fetched again is not: it would be too dear.
    private func watch(_ finding: CheckpointFinding, _ state: String, foundAt directory: String) throws {
        guard let files = Self.files(finding) else {
            guard finding.kind == .checkpoint else { return }
            guards[Array(finding.path.utf8)] = StateGuard(
                finding, foundAt: directory, source: source, place: place(finding.path), root: root, ledger: ledger,
                options: options)
            return
        }
        guard finding.kind != .cache else { return }
        let isWhole = files.count == 1 && finding.judgement == .complete
        for file in files {
            // Behind a link lies what it depends on.
            guard case .found(let path, let entry)? = try? tree.resolve(file), entry.kind == .file else { continue }
            ledger.watch(
                StateFile(
                    path: place(path), states: [state], isWhole: isWhole && path.utf8.elementsEqual(file.utf8),
                    size: entry.size, modified: entry.modified, options: options))
        }
    }

    /// Whether it is torn because its writer is at it, as far as times tell. What can be fetched again is stored without
    /// what is unfinished in it; what the user has named itself, as it is.
    private func isBeingWritten(_ finding: CheckpointFinding) -> Bool {
        guard finding.judgement == .torn || finding.judgement == .empty, !finding.path.isEmpty else { return false }
        let files = Self.files(finding)
        guard finding.kind == .checkpoint || files?.isEmpty == false, !hasSuccessor(finding.path) else { return false }
        if let files {
            guard !files.contains(where: { tree.isGitPointer($0) }) else { return false }
            return isRecent(files.compactMap { modification(of: $0) }.max())
        }
        return isRecent(newestModification(in: finding.path)) && !holdsCompleteOnes(finding)
    }

    /// Whether something of the same name with a higher number lies beside it: its writer has gone on.
    private func hasSuccessor(_ path: String) -> Bool {
        guard let own = NumberedName(TreePath.name(path)) else { return false }
        var isFound = false
        // What cannot be listed shows none.
        try? tree.list(TreePath.parent(path)) { entry in
            isFound = NumberedName(entry.name).map { own.precedes($0) } ?? false
            return !isFound
        }
        return isFound
    }

    /// When a file was last modified, behind links, or else the link that leads nowhere; nil when it is gone.
    private func modification(of file: String) -> Int64? {
        if case .found(_, let entry)? = try? tree.resolve(file) { return entry.modified }
        return (try? tree.entry(file))?.modified
    }

    /// What is gone already was being removed while it was judged; what is of days to come has its time from elsewhere.
    private func isRecent(_ time: Int64?) -> Bool {
        guard let time else { return true }
        return time >= policy.quietSince && time < policy.quietSince &+ StatePolicy.recentSpan
    }

    /// Whether other checkpoints lie in it, as in a run's directory that is a checkpoint itself.
    private func holdsCompleteOnes(_ finding: CheckpointFinding) -> Bool {
        var names: [String] = []
        try? tree.list(finding.path) { entry in
            if entry.kind == .directory { names.append(entry.name) }
            return names.count < 1000
        }
        let survey = Survey(tree, options: options)
        return names.contains { name in
            let path = TreePath.join(finding.path, name)
            let found = (try? survey.findings(at: path)) ?? []
            return found.contains {
                $0.judgement == .complete && $0.kind == .checkpoint && $0.path.utf8.elementsEqual(path.utf8)
                    && [finding.format, .transformersTrainer, .accelerate].contains($0.format)
            }
        }
    }

    /// When a file of its own in the directory was last modified, or without any, the directory; nil when it is gone. What
    /// cannot be looked at does not count: a backup names it anyway.
    private func newestModification(in directory: String) -> Int64? {
        let relied = tree.visited
        guard let own = (try? tree.entry(directory))?.modified else { return nil }
        var newest: Int64?
        var pending = [directory]
        while let place = pending.popLast() {
            try? tree.list(place) { entry in
                let path = TreePath.join(place, entry.name)
                if entry.kind == .directory { pending.append(path) }
                if StateRelevance.holds(path) || entry.kind == .file && relied.contains(Array(path.utf8)) {
                    newest = max(newest ?? entry.modified, entry.modified)
                }
                return true
            }
        }
        return newest ?? own
    }
}
