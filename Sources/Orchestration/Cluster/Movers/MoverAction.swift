package import Basics
package import RepositoryFormat

/// What a mover does with the volume that it is given.
package enum MoverAction: Sendable, Hashable {
    /// Stores it, or the share of it that falls to one of several movers. Without a `shard` there is a pod for each share,
    /// all of one Indexed Job.
    case backup(shard: Int?, of: Int)
    /// Writes to it what lies at `path` (components) of a snapshot.
    case restore(snapshot: String, path: [String])
    /// Judges the checkpoints on it; waits up to `seconds` for a complete one that is newer than `newerThan`.
    case inspect(newerThan: Timestamp?, seconds: Int)

    /// The word for it.
    package var word: String {
        switch self {
        case .backup: "backup"
        case .restore: "restore"
        case .inspect: "inspect"
        }
    }

    /// Whether it opens a repository, for which it needs a key.
    package var needsRepository: Bool {
        if case .inspect = self { false } else { true }
    }

    /// What the key of its run may do, and no more: a mover that fills a volume reads the repository only.
    package var role: KeyRole { writes ? .reader : .writer }

    /// Whether it changes the volume.
    package var writes: Bool {
        if case .restore = self { true } else { false }
    }
}
