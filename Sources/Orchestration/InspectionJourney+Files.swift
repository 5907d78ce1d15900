package import Repository
internal import RepositoryFormat
internal import Snapshots

extension InspectionJourney {
    /// A small file of a snapshot.
    package struct File: Sendable {
        /// Path components.
        package var path: [[UInt8]]
        package var content: [UInt8]
    }

    /// The regular files at and below `directory` (components), as they are now in memory. Throws `.noSuchName` where the
    /// snapshot has no such directory, for a damaged one, and for more than `mostBytes` in all.
    package func files(
        of snapshot: ListedSnapshot, below directory: [String], atMost mostBytes: Int
    ) async throws(JourneyError) -> [File] {
        try await JourneyError.mapping {
            let loader = TreeLoader(repository: repository, index: try await repository.loadIndex())
            let tree = try SnapshotTree(snapshot: snapshot, loader: loader)
            return try await Self.offload(name: "becalm-show") { check in
                let components = directory.map { Array($0.utf8) }
                guard let start = try tree.entry(at: components) else { return [] }
                if start.metadata.type == .regular {
                    return [File(path: components, content: try tree.content(of: start, atMost: mostBytes))]
                }
                var files: [File] = []
                var left = mostBytes
                var walker = TreeWalker(loader: loader)
                try walker.walk(pages: start.pages, at: components) { path, entry in
                    try check()
                    guard entry.metadata.type == .regular else { return .descend }
                    let content = try tree.content(of: entry, atMost: left)
                    left -= content.count
                    files.append(File(path: path, content: content))
                    return .descend
                }
                if let damage = walker.damage.first {
                    throw JourneyError(
                        .integrity, kind: "damaged", "a directory of the snapshot is damaged: \(damage.error)")
                }
                return files
            }
        }
    }
}
