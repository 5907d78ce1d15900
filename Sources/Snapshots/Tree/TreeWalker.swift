package import Repository
package import RepositoryFormat

/// Walks a snapshot's tree in order: a directory before what it holds, names in byte order.
///
/// Blocks; call from a thread of ours.
package struct TreeWalker {
    /// What to do after an entry.
    package enum Step: Sendable {
        /// Go on, into the directory if it is one.
        case descend
        /// Go on behind the directory.
        case skip
        /// End the walk.
        case stop
    }

    /// A directory page that could not be read: what lies in it is unknown.
    package struct Damage: Sendable {
        /// The directory's components.
        package var path: [[UInt8]]
        package var page: ChunkID
        package var error: RepositoryError
    }

    /// Directories within each other at the most; deeper is taken for damage.
    package static let maximumDepth = 4096

    private let loader: TreeLoader
    /// Pages that could not be read. The walk goes on without them.
    package private(set) var damage: [Damage] = []
    private var isStopped = false

    package init(loader: TreeLoader) { self.loader = loader }

    /// Visits every entry below the directory whose pages these are; `path` holds the components, the entry's last.
    package mutating func walk(
        pages: [ChunkID], at path: [[UInt8]] = [],
        visit: (_ path: [[UInt8]], _ entry: TreeEntry) throws -> Step
    ) throws {
        guard path.count < Self.maximumDepth else {
            throw RepositoryError(
                .damaged, "the snapshot's tree is over \(Self.maximumDepth) directories deep: it is damaged")
        }
        for page in pages where !isStopped {
            let entries: [TreeEntry]
            do {
                entries = try loader.page(page)
            } catch {
                guard error.code == .damaged || error.code == .notFound || error.isMissingObject else { throw error }
                damage.append(Damage(path: path, page: page, error: error))
                continue
            }
            for entry in entries {
                let entryPath = path + [entry.name]
                switch try visit(entryPath, entry) {
                case .descend:
                    if entry.metadata.type == .directory { try walk(pages: entry.pages, at: entryPath, visit: visit) }
                case .skip: break
                case .stop: isStopped = true
                }
                if isStopped { return }
            }
        }
    }
}
