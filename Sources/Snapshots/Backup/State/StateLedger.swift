internal import Checkpoints
internal import RepositoryFormat
internal import Synchronization

/// What one backup pass knows of the AI state it stores and leaves out; all its threads write here.
final class StateLedger: Sendable {
    fileprivate struct Contents {
        var states: [StateInventory.State] = []
        var runs: [StateInventory.Run] = []
        var leftOut: [SnapshotManifest.Problem] = []
        var unlisted: UInt64 = 0
        /// What was not torn when it was judged, and turned out to be changing, by its path.
        var dropped: [(path: String, isCheckpoint: Bool)] = []
        /// Absolute paths of sources as text, and what they are called in the snapshot.
        var sources: [(path: String, root: String)] = []
        /// Files of states, by their raw absolute path, until they are stored.
        var files: [[UInt8]: StateFile] = [:]
        var incomplete: IncompleteState?
        /// The greatest step of a checkpoint that is left out.
        var leftOutStep: Int64?
    }

    private let contents = Mutex(Contents())
    /// Files of states that are watched, some 200 bytes each; of more, what is noticed of any file is noticed.
    private static let mostFiles = 20_000

    init() {}

    // MARK: What was found

    /// Says where a source lies, absolute and raw, and what it is called in the snapshot.
    func began(_ source: [UInt8], root: String) {
        contents.withLock { $0.sources.append((PathText.display(source), root)) }
    }

    /// Takes a finding that is stored. Its paths are relative to a source; `root` is the source's name in the snapshot.
    func add(_ finding: CheckpointFinding, below root: String) {
        let state = StateInventory.State(finding, below: root)
        contents.withLock { contents in
            if finding.isUnfinished { contents.note(IncompleteState(state)) }
            if contents.states.count >= StateInventory.mostRecords {
                contents.unlisted += 1
                // A restore must know of the torn ones, a person of the checkpoints.
                let ranks = contents.states.map(\.rank)
                guard let lowest = ranks.min(), lowest < state.rank || lowest == state.rank && state.files == nil,
                    let place = ranks.firstIndex(of: lowest)
                else { return }
                contents.states.remove(at: place)
            }
            contents.states.append(state)
        }
    }

    /// Takes what a framework would resume from.
    func add(_ run: RunFinding, below root: String) {
        contents.withLock { contents in
            guard contents.runs.count < StateInventory.mostRecords else {
                contents.unlisted += 1
                return
            }
            contents.runs.append(StateInventory.Run(run, below: root))
        }
    }

    /// Holds a state that is stored for one of which nothing can be said: `reason` is one line.
    func doubt(_ path: String, _ reason: String) {
        contents.withLock { $0.doubt(path, reason) }
    }

    /// Says that something is left out on purpose. `path` is absolute and raw; `reason` one line.
    func leaveOut(_ path: [UInt8], _ reason: String) {
        contents.withLock { $0.leaveOut(PathText.display(path), reason) }
    }

    /// Says that a checkpoint, or what is part of one, is being written, and so left out.
    func leaveOut(_ path: [UInt8], _ reason: String, unfinished state: StateInventory.State) {
        contents.withLock { contents in
            contents.note(IncompleteState(state))
            contents.noteStep(state)
            contents.leaveOut(PathText.display(path), reason)
        }
    }

    /// Takes a state back that was not torn when it was judged and is left out all the same. `path` is its own, relative to
    /// the snapshot's root; `place` the absolute one.
    func drop(_ path: String, at place: [UInt8], _ reason: String) {
        contents.withLock { $0.drop(path, at: place, reason) }
    }

    /// The first thing that keeps the snapshot from holding complete checkpoints only.
    var incomplete: IncompleteState? { contents.withLock { $0.incomplete } }

    /// The directory, in the snapshot, of a checkpoint that was complete and is left out, and beside which no complete one
    /// is stored.
    var bereft: String? {
        contents.withLock { contents in
            contents.dropped.filter(\.isCheckpoint).map { TreePath.parent($0.path) }.first { directory in
                !contents.states.contains {
                    $0.judgement == Judgement.complete.rawValue && $0.kind == StateKind.checkpoint.rawValue
                        && TreePath.parent($0.path).utf8.elementsEqual(directory.utf8)
                }
            }
        }
    }

    // MARK: Files

    /// What is to be done with a file that was read.
    enum Settlement {
        case stored
        /// Stored, with a problem to be noted.
        case doubtful(String)
        /// Not stored, and named among what is left out.
        case dropped
    }

    /// Watches a file of a state. One that belongs to several states is watched for all of them.
    func watch(_ file: StateFile) {
        contents.withLock { contents in
            if contents.files[file.path] != nil {
                contents.files[file.path]?.states += file.states
                contents.files[file.path]?.isWhole = false
            } else if contents.files.count < Self.mostFiles {
                contents.files[file.path] = file
            }
        }
    }

    /// Says what is to be done with the file at `path`. Blocks.
    ///
    /// - Parameters:
    ///   - metadata: the file's when it was read.
    ///   - isTorn: whether it changed while it was read.
    func settle(_ path: @autoclosure () -> [UInt8], _ metadata: FileMetadata, isTorn: Bool) -> Settlement {
        // Most files belong to no state: for them not even the path is put together.
        guard contents.withLock({ !$0.files.isEmpty }) else { return .stored }
        let path = path()
        let file = contents.withLock { $0.takeFile(path) }
        guard let file, isTorn || !file.isSame(metadata) else { return .stored }
        guard file.isWhole else {
            for state in file.states { doubt(state, "\(PathText.display(path)) changed after it was judged") }
            return isTorn ? .stored : .doubtful("changed after the checkpoint or model that it belongs to was judged")
        }
        guard let reason = isTorn ? StateFile.changed : file.reasonToLeaveOut(metadata) else { return .stored }
        for state in file.states { drop(state, at: path, reason) }
        return .dropped
    }

    /// Says that the file at `path` is gone. Whether it was a state by itself, which is named now.
    func loses(_ path: [UInt8]) -> Bool {
        guard let file = contents.withLock({ $0.takeFile(path) }) else { return false }
        guard file.isWhole else {
            for state in file.states { doubt(state, "\(PathText.display(path)) is not in the snapshot") }
            return false
        }
        for state in file.states { drop(state, at: path, "it was removed before it could be read") }
        return true
    }

    // MARK: The outcome

    /// What the manifest says of it. `problems` are of files that are not stored as they are: what holds one is not known
    /// to be complete.
    func inventory(_ problems: [SnapshotManifest.Problem] = []) -> StateInventory {
        contents.withLock { contents in
            for problem in problems { contents.doubtWhatHolds(problem) }
            var inventory = StateInventory()
            inventory.states = contents.states
            inventory.leftOut = contents.leftOut
            inventory.leftOutStep = contents.leftOutStep
            inventory.unlisted = contents.unlisted
            inventory.runs = contents.runs.map { run in
                var run = run
                for member in [\StateInventory.Run.resumesFrom, \.newestComplete] {
                    guard let path = run[keyPath: member],
                        contents.dropped.contains(where: { $0.path.utf8.elementsEqual(path.utf8) })
                    else { continue }
                    run[keyPath: member] = nil
                    if member == \.resumesFrom {
                        run.step = nil
                        run.warnings.append("\(path), from which it would resume, changed during the backup")
                    }
                }
                return run
            }
            return inventory
        }
    }

    /// Whether what was noted of `path`, absolute as text, concerns nothing that is in the snapshot.
    func isLeftOut(_ path: String) -> Bool {
        contents.withLock { contents in
            contents.leftOut.contains { path == $0.path || path.hasPrefix($0.path + "/") }
        }
    }
}

extension StateLedger.Contents {
    /// The watched file at `path`, which is not watched any more.
    mutating func takeFile(_ path: [UInt8]) -> StateFile? { files.removeValue(forKey: path) }

    mutating func drop(_ path: String, at place: [UInt8], _ reason: String) {
        let known = states.first { $0.path.utf8.elementsEqual(path.utf8) }
        dropped.append((path, known.map { $0.kind == StateKind.checkpoint.rawValue } ?? false))
        if var state = known {
            state.reasons = [reason]
            note(IncompleteState(state))
            noteStep(state)
        }
        states.removeAll { TreePath.holds(path, $0.path) }
        leaveOut(PathText.display(place), reason)
    }

    mutating func note(_ state: IncompleteState) { incomplete = incomplete ?? state }

    mutating func noteStep(_ state: StateInventory.State) {
        guard state.kind == StateKind.checkpoint.rawValue, let step = state.step else { return }
        leftOutStep = max(leftOutStep ?? step, step)
    }

    mutating func leaveOut(_ path: String, _ reason: String) {
        guard leftOut.count < StateInventory.mostRecords else {
            unlisted += 1
            return
        }
        leftOut.append(.init(path: path, message: reason))
    }

    mutating func doubtWhatHolds(_ problem: SnapshotManifest.Problem) {
        for (source, root) in sources where TreePath.holds(source, problem.path) {
            let path = root + problem.path.dropFirst(source.count)
            for state in states where state.files.map({ $0.contains(path) }) ?? TreePath.holds(state.path, path) {
                doubt(state.path, "\(TreePath.name(path)) in it: \(problem.message)")
            }
        }
    }

    mutating func doubt(_ path: String, _ reason: String) {
        guard let index = states.firstIndex(where: { $0.path.utf8.elementsEqual(path.utf8) }),
            states[index].judgement == Judgement.complete.rawValue
        else { return }
        states[index].judgement = Judgement.unknown.rawValue
        states[index].reasons = [reason]
    }
}

extension StateInventory.State {
    /// Which records are kept where there are too many: the higher ones.
    var rank: Int {
        switch (judgement, kind) {
        case (Judgement.torn.rawValue, _): 3
        case (_, StateKind.checkpoint.rawValue) where files == nil: 2
        case (_, StateKind.checkpoint.rawValue): 1
        default: 0
        }
    }
}
