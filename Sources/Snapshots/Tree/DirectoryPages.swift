internal import Repository
internal import RepositoryFormat

/// A directory as it is stored: takes its entries in ascending order of names, stores each page that is complete, and adds up.
struct DirectoryPages: Sendable {
    private var page: [TreeEntry] = []
    private var pages: [ChunkID] = []
    private var digest = ContentDigest()
    /// Of what lies below the directory so far.
    private(set) var totals = SnapshotManifest.Totals()

    /// Counts an entry in; `below` are the totals of what lies below a directory.
    mutating func count(_ entry: TreeEntry, _ below: SnapshotManifest.Totals = SnapshotManifest.Totals()) {
        totals.files += below.files
        totals.directories += below.directories
        totals.bytes += below.bytes
        if entry.metadata.type == .directory {
            totals.directories += 1
        } else {
            totals.files += 1
            totals.bytes += entry.metadata.type == .regular ? entry.metadata.size : 0
        }
    }

    /// Takes the next entry, and stores the page that it completes.
    mutating func add(_ entry: TreeEntry, _ encoder: ChunkEncoder) throws(RepositoryError) {
        digest.add(entry)
        page.append(entry)
        if DirectoryPage.ends(after: entry, count: page.count) { try storePage(encoder) }
    }

    /// Stores the last page; `entry` with the pages and the digest.
    mutating func finish(_ entry: TreeEntry, _ encoder: ChunkEncoder) throws(RepositoryError) -> TreeEntry {
        if !page.isEmpty { try storePage(encoder) }
        var entry = entry
        entry.pages = pages
        entry.treeDigest = digest.finish()
        return entry
    }

    private mutating func storePage(_ encoder: ChunkEncoder) throws(RepositoryError) {
        pages.append(try encoder.add(DirectoryPage.encode(page), kind: .tree))
        page = []
    }
}
