internal import RepositoryFormat

/// How a backup deals with AI state that is not complete.
struct StatePolicy: Sendable {
    /// What was modified since then may be being written: nanoseconds since 1970.
    let quietSince: Int64
    /// Whether anything that is not complete ends the backup.
    let requiresComplete: Bool
    /// From the beginning of what is recent to some two days from now, in nanoseconds: clocks of file servers differ.
    static let recentSpan: Int64 = 2 * 86_400 * 1_000_000_000
    private let excludes: [GlobPattern]

    /// That of `request`, which begins at `now`, in nanoseconds since 1970.
    init(_ request: BackupRequest, now: Int64) {
        quietSince = now - request.quietSeconds * 1_000_000_000
        requiresComplete = request.requiresComplete
        excludes = request.excludes.map { GlobPattern($0) }
    }

    /// Whether patterns leave out all that belongs to `state`.
    func excludes(_ state: StateInventory.State) -> Bool {
        let paths = state.files ?? [state.path]
        guard !excludes.isEmpty, !paths.isEmpty else { return false }
        return paths.allSatisfy { path in
            let components = path.utf8.split(separator: UInt8(ascii: "/")).map(Array.init)
            return excludes.contains { $0.matchesOrContains(components) }
        }
    }
}
