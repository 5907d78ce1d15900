package import RepositoryFormat

/// A checkpoint that is not complete, where only complete ones were asked for.
package struct IncompleteState: Error, Sendable, CustomStringConvertible {
    /// Relative to the snapshot's root.
    package var path: String
    /// `torn`, `empty`, `unknown`.
    package var judgement: String
    /// Why, on one line.
    package var reason: String

    /// What `state` is.
    package init(_ state: StateInventory.State) {
        path = state.path
        judgement = state.judgement
        reason = state.reasons.first ?? "nothing is in it yet"
    }

    package var description: String {
        let state =
            switch judgement {
            case "complete": "is not complete"
            case "unknown": "is not known to be complete"
            default: "is \(judgement)"
            }
        return
            "\(PathText.display(Array(path.utf8))) \(state): \(reason); wait for the save to end, remove it or --exclude it, or leave --require-complete out"
    }
}
