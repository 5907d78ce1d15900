internal import Basics
internal import Snapshots

/// Keeps a backup from storing the repository in itself, which would grow as it is read.
package struct SourceGuard: Sendable {
    /// Absolute path of the repository's directory, raw.
    private let repository: [UInt8]
    private let excludes: [String]

    package init(repository: [UInt8], excludes: [String]) {
        self.repository = repository
        self.excludes = excludes
    }

    /// Throws a usage error when a source holds the repository and does not leave it out, or lies inside it.
    package func check(_ sources: [[UInt8]]) async throws {
        let (repository, excludes) = (repository, excludes)
        try await BlockingBridge.offload(name: "becalm-files") {
            Result {
                guard let place = SystemFiles.canonical(repository) else { return }
                for source in sources {
                    guard let path = SystemFiles.canonical(source) else { continue }
                    try Self.check(source, path, place, excludes)
                }
            }
        }
    }

    private static func check(
        _ source: [UInt8], _ path: [UInt8], _ repository: [UInt8], _ excludes: [String]
    ) throws(JourneyError) {
        let components = SnapshotTree.components(of: path)
        let place = SnapshotTree.components(of: repository)
        let shown = PathText.display(source)
        if components.starts(with: place) {
            throw .usage(
                "\(shown) lies inside the repository \(PathText.display(repository)): it is not backed up into itself")
        }
        guard place.starts(with: components) else { return }
        // As the backup sees it: the source's last component, and what is below it.
        let name = SnapshotTree.components(of: source).last.map { [$0] } ?? []
        let inside = name + place.dropFirst(components.count)
        guard !excludes.contains(where: { GlobPattern($0).matchesOrContains(inside) }) else { return }
        let pattern = PathText.display(Array(inside.joined(separator: [UInt8(ascii: "/")])))
        throw .usage(
            "\(shown) holds the repository \(PathText.display(repository)) itself: leave it out with --exclude '/\(pattern)'"
        )
    }
}
