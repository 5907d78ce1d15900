internal import RepositoryFormat

extension StateInventory {
    /// The same for a tree in which what lies below the directory `from` of this one lies below `place`, and nothing else
    /// of it does.
    ///
    /// A state of which only a part lies there is named by that part: by `place`, when it is everything below a directory
    /// above; such a one, and one that is all of `from`, keeps its name when it is torn. Where a path is no text after the
    /// move nothing is judged: what is lost so is counted in `unlisted`.
    func moved(from: [[UInt8]], to place: [[UInt8]]) -> StateInventory {
        var moved = self
        guard let directory = String(validating: StatePath.key(place), as: UTF8.self) else {
            moved.states = []
            moved.runs = []
            moved.unlisted += UInt64(states.count + runs.count)
            return moved
        }
        let move = { (path: String) -> String? in
            guard let components = StatePath.directory(path), components.starts(with: from) else { return nil }
            return String(validating: StatePath.key(place + components.dropFirst(from.count)), as: UTF8.self)
        }
        moved.states = states.compactMap { $0.moved(inside: from, directory, move) }
        moved.runs = runs.compactMap { run in
            guard let path = move(run.path) else { return nil }
            var run = run
            run.path = path
            let resumed = run.resumesFrom
            run.resumesFrom = resumed.flatMap(move)
            if run.resumesFrom == nil { run.step = nil }
            run.newestComplete = run.newestComplete.flatMap(move)
            run.trackers = run.trackers.compactMap(move)
            return run
        }
        return moved
    }
}

extension StateInventory.State {
    /// The state with its paths moved, or nil when nothing of it is in the directory `from`, which is `directory` now.
    fileprivate func moved(
        inside from: [[UInt8]], _ directory: String, _ move: (String) -> String?
    ) -> StateInventory.State? {
        guard let components = StatePath.components(path) else { return nil }
        var state = self
        state.files = files?.compactMap(move)
        state.commitMarkers = commitMarkers.compactMap(move)
        if let path = move(path) {
            state.path = path
        } else if files == nil, from.starts(with: components) {
            state.path = directory
        } else if let first = state.files?.first {
            state.path = first
        } else {
            return nil
        }
        // Another name for it would be another place for all of it.
        if files == nil, from.starts(with: components) { state.quarantineName = nil }
        return state
    }
}
