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
    private var reasons: [String: Reason] = [:]
    /// Checkpoints to be looked at again, by the path of their directory, until the walker comes there.
    private var guards: [String: StateGuard] = [:]
    /// What the walker is in, from the source's root on.
    private var open: [Frame] = []

    private struct Frame {
        var path: String
        /// That of the innermost checkpoint around the directory, or of the directory itself.
        var stateGuard: StateGuard?
        /// States found at the directory, with what belongs to them.
        var found: [(state: String, path: String, files: [String]?)] = []
        var early: [String] = []
    }

    private struct Reason {
        var text: String
        /// Set for what is being written, and part of a checkpoint.
        var unfinished: StateInventory.State?
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
        open.append(Frame(path: path, stateGuard: open.last?.stateGuard))
        _ = try walk.enter(path, entries: listing.entries) { event in
            if case .checkpoint(let finding) = event { try take(finding, foundAt: path) }
        }
        for finding in withdrawn { walk.forget(finding) }
        withdrawn = []
        if let own = guards.removeValue(forKey: path) { open[open.count - 1].stateGuard = own }
    }

    /// Tells what is stored of the directory entered last.
    func listed(_ names: [[UInt8]]) {
        guard let last = open.last else { return }
        last.stateGuard?.listed(last.path, names)
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
        guard !reasons.isEmpty, let path = text(path), let reason = reasons[path] else { return false }
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
        for frame in open {
            for found in frame.found where found.files.map({ $0.contains(path) }) ?? TreePath.holds(found.path, path) {
                ledger.doubt(found.state, "\(TreePath.name(path)) in it was left out by a pattern")
            }
        }
    }

    /// Tells of an entry in the directory entered last, as it is when it is stored.
    func saw(_ path: [[UInt8]], _ metadata: FileMetadata) {
        guard let last = open.last?.stateGuard, let path = text(path) else { return }
        last.saw(path, metadata)
    }

    // MARK: Trackers

    /// Reads the files and links in the directory entered last that its job goes by. What cannot be read so is read in its
    /// turn, like any other.
    func readEarly(in directory: DirectoryHandle, owners: OwnerNames) -> [[UInt8]: EarlyReading] {
        var readings: [[UInt8]: EarlyReading] = [:]
        for name in walk.trackerNames {
            let bytes = Array(name.utf8)
            guard let last = open.indices.last,
                let reading = try? EarlyReading(of: bytes, in: directory, owners: owners)
            else { continue }
            readings[bytes] = reading
            // It is judged by what is stored.
            guard let content = reading.content else { continue }
            let path = TreePath.join(open[last].path, name)
            open[last].early.append(path)
            tree.replace(path, by: content)
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
        let isWhole = finding.kind == .checkpoint
        for path in finding.secrets { reasons[path] = Reason(text: "it is a secret: a token") }
        for path in finding.inProgress where !path.isEmpty {
            reasons[path] =
                isWhole
                ? Reason(text: "it is being written, or was when its writer died", unfinished: state)
                : Reason(text: "it is unfinished, or there for the moment only")
        }
        if isBeingWritten(finding) {
            let reason = Reason(
                text: "it is being written: \(state.reasons.first ?? "nothing is in it yet")", unfinished: state)
            for path in Self.paths(finding) where reasons[path] == nil { reasons[path] = reason }
        }
        if Self.paths(finding).contains(where: { reasons[$0] != nil }), finding.judgement != .complete {
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
            guards[finding.path] = StateGuard(
                finding, foundAt: directory, source: source, place: place(finding.path), root: root, ledger: ledger,
                options: options)
            return
        }
        guard finding.kind != .cache else { return }
        guard files.count == 1, let file = files.first, finding.judgement == .complete else {
            for file in files { ledger.watch(place(file), partOf: state) }
            return
        }
        guard let entry = try? tree.entry(file), entry.kind == .file else { return }
        ledger.watch(
            StateFile(
                path: place(file), state: state, size: entry.size, modified: entry.modified, options: options))
    }

    /// Whether it is torn because its writer is at it, as far as times tell. A set of several files that lacks some is
    /// stored as it is: it took long to fetch. So is what the user has named itself.
    private func isBeingWritten(_ finding: CheckpointFinding) -> Bool {
        guard finding.judgement == .torn || finding.judgement == .empty, !finding.path.isEmpty else { return false }
        let files = Self.files(finding)
        guard finding.kind == .checkpoint || files?.count == 1 else { return false }
        let newest = files.map { newestModification(of: $0) } ?? newestModification(in: finding.path)
        // What is gone already was being removed while it was judged.
        return newest.map { $0 >= policy.quietSince } ?? true
    }

    /// Nil when none can be looked at.
    private func newestModification(of files: [String]) -> Int64? {
        files.compactMap { (try? tree.entry($0))?.modified }.max()
    }

    /// When something in the directory or it itself was last modified; what cannot be looked at does not count, for a
    /// backup names it anyway.
    private func newestModification(in directory: String) -> Int64? {
        var newest = (try? tree.entry(directory))?.modified
        var pending = [directory]
        while let place = pending.popLast() {
            try? tree.list(place) { entry in
                newest = max(newest ?? entry.modified, entry.modified)
                if entry.kind == .directory { pending.append(TreePath.join(place, entry.name)) }
                return true
            }
        }
        return newest
    }
}
