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
        /// What was judged complete, and turned out to be changing, by its path.
        var dropped: Set<String> = []
        /// Single files that are a state each, by their raw absolute path, until they are stored.
        var files: [[UInt8]: StateFile] = [:]
        /// Files that are part of a state of several, by their raw absolute path: the state's path.
        var parts: [[UInt8]: String] = [:]
        var incomplete: IncompleteState?
    }

    private let contents = Mutex(Contents())
    /// Files of states that are watched, some 200 bytes each; of more, what is noticed of any file is noticed.
    private static let mostFiles = 20_000

    init() {}

    // MARK: What was found

    /// Takes a finding that is stored. Its paths are relative to a source; `root` is the source's name in the snapshot.
    func add(_ finding: CheckpointFinding, below root: String) {
        let state = StateInventory.State(finding, below: root)
        contents.withLock { contents in
            if finding.isUnfinished { contents.note(IncompleteState(state)) }
            if contents.states.count >= StateInventory.mostRecords {
                contents.unlisted += 1
                // A restore must know of the torn ones; of the complete ones the first are the oldest, mostly.
                guard let place = contents.states.firstIndex(where: { $0.judgement != "torn" }) else { return }
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
            contents.leaveOut(PathText.display(path), reason)
        }
    }

    /// Takes a state back that was judged complete and is left out all the same. `path` is its own, relative to the
    /// snapshot's root; `place` the absolute one.
    func drop(_ path: String, at place: [UInt8], _ reason: String) {
        contents.withLock { contents in
            contents.dropped.insert(path)
            if var state = contents.states.first(where: { $0.path == path }) {
                state.reasons = [reason]
                contents.note(IncompleteState(state))
            }
            contents.states.removeAll { $0.path == path || $0.path.hasPrefix(path + "/") }
            contents.leaveOut(PathText.display(place), reason)
        }
    }

    /// The first thing that keeps the snapshot from holding complete checkpoints only.
    var incomplete: IncompleteState? { contents.withLock { $0.incomplete } }

    // MARK: Single files

    /// Watches a file that is a state by itself.
    func watch(_ file: StateFile) {
        contents.withLock { contents in
            guard contents.files.count < Self.mostFiles else { return }
            contents.files[file.path] = file
        }
    }

    /// Watches a file that belongs to the state at `state` with others.
    func watch(_ path: [UInt8], partOf state: String) {
        contents.withLock { contents in
            guard contents.parts.count < Self.mostFiles else { return }
            contents.parts[path] = state
        }
    }

    /// Whether the file at `path` may stand in the snapshot as it was read; if not, it is named among what is left out.
    ///
    /// - Parameters:
    ///   - metadata: the file's when it was read.
    ///   - isTorn: whether it changed while it was read.
    func settles(_ path: [UInt8], _ metadata: FileMetadata, isTorn: Bool) -> Bool {
        let (file, state) = contents.withLock { contents -> (StateFile?, String?) in
            // Most files are none, and it costs something to look.
            (
                contents.files.isEmpty ? nil : contents.files.removeValue(forKey: path),
                contents.parts.isEmpty ? nil : contents.parts[path]
            )
        }
        if let state, isTorn { doubt(state, "\(PathText.display(path)) changed while it was read") }
        guard let file, let reason = isTorn ? StateFile.changed : file.reasonToLeaveOut(metadata) else { return true }
        drop(file.state, at: path, reason)
        return false
    }

    // MARK: The outcome

    /// What the manifest says of it.
    var inventory: StateInventory {
        contents.withLock { contents in
            var inventory = StateInventory()
            inventory.states = contents.states
            inventory.leftOut = contents.leftOut
            inventory.unlisted = contents.unlisted
            inventory.runs = contents.runs.map { run in
                var run = run
                for member in [\StateInventory.Run.resumesFrom, \.newestComplete] {
                    guard let path = run[keyPath: member], contents.dropped.contains(path) else { continue }
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
    mutating func note(_ state: IncompleteState) { incomplete = incomplete ?? state }

    mutating func leaveOut(_ path: String, _ reason: String) {
        guard leftOut.count < StateInventory.mostRecords else {
            unlisted += 1
            return
        }
        leftOut.append(.init(path: path, message: reason))
    }

    mutating func doubt(_ path: String, _ reason: String) {
        guard let index = states.firstIndex(where: { $0.path == path }), states[index].judgement == "complete" else {
            return
        }
        states[index].judgement = Judgement.unknown.rawValue
        states[index].reasons = [reason]
        var state = states[index]
        state.reasons = [reason]
        note(IncompleteState(state))
    }
}
