/// Knows one format: what it looks like in a directory, when it is complete, what its framework resumes from.
///
/// ## Adding a judge
///
/// 1. Write a type that conforms to `Judge`, in a file below `Judges/`, and add it to `Judges.all`, with one line. The order
///    there is precedence: whoever claims entries first has them, so formats that contain others stand before them.
/// 2. `recognises` says from names alone whether a look is worth while. It is asked at every directory: it opens nothing.
/// 3. `judge` looks closer. It returns nil when the directory is not its after all, and else a `Claim`: findings, and
///    which entries they take, so that nothing is reported twice. `Claim.everything` takes all below the directory (a
///    checkpoint directory); `Claim.entries` only some names in it (a file, the shards of a set).
/// 4. A finding begins as complete. Hold each rule of the format against what is there, and call `tear` where its own
///    loader fails or goes on from a wrong state, `doubt` where it cannot be told, and `note` for what is worth knowing.
///    To call a loadable one torn, or an unloadable one complete, is the worst a judge can do: when in doubt, `doubt`.
/// 5. Files are read through the context: `context.torch(path)`, `context.json(path)`, `context.read(path, …)`. These follow
///    symbolic links and do not throw for what is missing or unreadable; `finding.accept(…, of: path)` takes what they return.
/// 6. Set the step, `commitMarkers`, `inProgress`, `secrets`, and for a torn one `quarantineName`. The survey sums up `bytes`.
/// 7. If the framework looks for its newest checkpoint by itself, `run` says which one it would find: it is asked at every
///    directory below which something was found, after all of it was judged.
/// 8. What a judge throws makes the directory one `unknown` finding of its `format`; the survey goes on.
///
/// A judge keeps no state: one value judges any number of directories.
package protocol Judge: Sendable {
    /// The format of an `unknown` finding, when this judge fails.
    var format: CheckpointFormat { get }

    /// Names of the files in which the framework keeps which checkpoint is the newest. A backup of a running job reads them
    /// before it looks which checkpoints there are, so that none names a later one.
    var trackerNames: Set<String> { get }

    /// Whether the directory may hold something of the format: from names and kinds alone. The entries are those that
    /// no judge before has claimed.
    func recognises(_ directory: TreeDirectory) -> Bool

    /// Judges what the directory holds of the format, nil when it is nothing. Asked only when `recognises` said yes,
    /// with the same entries. Throws what the tree throws where the context does not take it.
    func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim?

    /// What the framework would resume from in this directory, or nil when it does not look here.
    ///
    /// - Parameters:
    ///   - directory: all its entries.
    ///   - found: what was found in it and below, whatever the format, at most `SurveyOptions.remembered`; what a run
    ///     in a deeper directory is made of is among it.
    func run(_ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext) throws -> RunFinding?
}

extension Judge {
    /// Most frameworks go by the names of the checkpoints.
    package var trackerNames: Set<String> { [] }

    /// No framework looks for the newest of these by itself.
    package func run(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
    ) throws -> RunFinding? { nil }
}

/// What a judge found in a directory, and what of the directory that takes.
package struct Claim: Sendable {
    /// Which entries are taken.
    package enum Extent: Sendable {
        /// All, and all below.
        case everything
        /// Those of these names; of a directory, all below it.
        case entries(Set<String>)
    }

    package var findings: [CheckpointFinding]
    package var extent: Extent

    /// One finding that takes the whole directory.
    package static func everything(_ finding: CheckpointFinding) -> Claim {
        Claim(findings: [finding], extent: .everything)
    }

    /// Findings that take some of the entries.
    package static func entries(_ names: Set<String>, _ findings: [CheckpointFinding]) -> Claim {
        Claim(findings: findings, extent: .entries(names))
    }
}
