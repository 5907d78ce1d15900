internal import Basics
package import Repository
package import RepositoryFormat

/// Tells two snapshots of one repository apart: both trees are walked in step, and a directory whose pages are the same
/// in both is never loaded. Memory does not grow with the trees.
package struct SnapshotDifference {
    /// What happened to a name.
    package enum Kind: Hashable, Sendable {
        case added
        case removed
        case modified(Changes)
    }

    /// What is different about a name that both have.
    package struct Changes: OptionSet, Hashable, Sendable {
        package let rawValue: UInt8

        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// A file's bytes, a link's target, a device's number.
        package static let content = Changes(rawValue: 1)
        /// Mode, owner, extended attributes; of anything but directories also the time of modification.
        package static let metadata = Changes(rawValue: 2)
        /// It became something else: a file a directory, say.
        package static let type = Changes(rawValue: 4)
    }

    /// One difference.
    package struct Change: Sendable {
        package var kind: Kind
        /// Raw components.
        package var path: [[UInt8]]
        /// Nil when it was added.
        package var before: TreeEntry?
        /// Nil when it was removed.
        package var after: TreeEntry?
    }

    /// Sums over the differences.
    package struct Totals: Hashable, Sendable {
        /// Entries that are no directories.
        package var added: UInt64 = 0
        package var removed: UInt64 = 0
        /// Entries that both have and that differ, directories among them.
        package var modified: UInt64 = 0
        /// Bytes of the files added.
        package var bytesAdded: UInt64 = 0
        /// Bytes of the files removed.
        package var bytesRemoved: UInt64 = 0
        /// Bytes, as they are now, of the files whose content differs.
        package var bytesModified: UInt64 = 0

        package init() {}
    }

    private let before: TreeLoader
    private let after: TreeLoader
    package private(set) var totals = Totals()
    /// Directories that could not be read on one of the sides: what is in them is not compared.
    package private(set) var damage: [TreeWalker.Damage] = []

    /// A comparison whose sides are read through these loaders; the same one may serve for both.
    package init(before: TreeLoader, after: TreeLoader) {
        self.before = before
        self.after = after
    }

    /// Visits the differences in the order of path components. Blocks: call it from a thread of ours. Throws `.storage`
    /// and what `visit` throws.
    package mutating func run(
        from old: [ChunkID], to new: [ChunkID], visit: (Change) throws -> Void
    ) throws {
        try compare(old, new, at: [], visit)
    }

    private mutating func compare(
        _ old: [ChunkID], _ new: [ChunkID], at path: [[UInt8]], _ visit: (Change) throws -> Void
    ) throws {
        guard old != new else { return }
        guard path.count < TreeWalker.maximumDepth else {
            throw RepositoryError(
                .damaged, "a snapshot's tree is over \(TreeWalker.maximumDepth) directories deep: it is damaged")
        }
        var left = PageCursor(pages: old, loader: before)
        var right = PageCursor(pages: new, loader: after)
        do {
            while true {
                try PageCursor.skipCommon(&left, &right)
                let (one, other) = (try left.peek(), try right.peek())
                switch (one, other) {
                case (nil, nil): return
                case (let one?, let other?) where one.name == other.name:
                    left.advance()
                    right.advance()
                    try both(one, other, path, visit)
                case (let one?, let other) where other.map { one.name.lexicographicallyPrecedes($0.name) } ?? true:
                    left.advance()
                    try only(one, .removed, path, visit)
                case (_, let other?):
                    right.advance()
                    try only(other, .added, path, visit)
                case (_?, nil): return
                }
            }
        } catch let error as PageCursor.Unreadable {
            damage.append(TreeWalker.Damage(path: path, page: error.page, error: error.error))
        }
    }

    private mutating func both(
        _ old: TreeEntry, _ new: TreeEntry, _ parent: [[UInt8]], _ visit: (Change) throws -> Void
    ) throws {
        let path = parent + [new.name]
        let changes = Self.changes(old, new)
        if !changes.isEmpty {
            totals.modified += 1
            if changes.contains(.content) { totals.bytesModified += new.metadata.size }
            try visit(Change(kind: .modified(changes), path: path, before: old, after: new))
        }
        let oldPages = old.metadata.type == .directory ? old.pages : []
        let newPages = new.metadata.type == .directory ? new.pages : []
        try compare(oldPages, newPages, at: path, visit)
    }

    private mutating func only(
        _ entry: TreeEntry, _ kind: Kind, _ parent: [[UInt8]], _ visit: (Change) throws -> Void
    ) throws {
        let path = parent + [entry.name]
        let isDirectory = entry.metadata.type == .directory
        if kind == .added {
            totals.added += isDirectory ? 0 : 1
            totals.bytesAdded += entry.metadata.size
            try visit(Change(kind: kind, path: path, before: nil, after: entry))
            if isDirectory { try compare([], entry.pages, at: path, visit) }
        } else {
            totals.removed += isDirectory ? 0 : 1
            totals.bytesRemoved += entry.metadata.size
            try visit(Change(kind: kind, path: path, before: entry, after: nil))
            if isDirectory { try compare(entry.pages, [], at: path, visit) }
        }
    }

    /// What is different about two entries of one name, what lies in directories left aside.
    static func changes(_ old: TreeEntry, _ new: TreeEntry) -> Changes {
        let (left, right) = (old.metadata, new.metadata)
        guard left.type == right.type else { return [.type] }
        var changes: Changes = []
        if contentDiffers(old, new) { changes.insert(.content) }
        let isSame =
            left.permissions == right.permissions && left.userID == right.userID && left.groupID == right.groupID
            && left.userName == right.userName && left.groupName == right.groupName
            && left.extendedAttributes == right.extendedAttributes
            && (left.type == .directory || left.modified == right.modified)
        if !isSame { changes.insert(.metadata) }
        return changes
    }

    private static func contentDiffers(_ old: TreeEntry, _ new: TreeEntry) -> Bool {
        switch new.metadata.type {
        case .regular:
            if let left = old.fileDigest, let right = new.fileDigest { return left != right }
            return old.metadata.size != new.metadata.size || old.content != new.content
        case .symbolicLink: return old.metadata.linkTarget != new.metadata.linkTarget
        case .characterDevice, .blockDevice: return old.metadata.deviceNumber != new.metadata.deviceNumber
        case .directory, .fifo, .socket: return false
        }
    }
}

/// A place in a directory's pages, of which one is loaded at a time.
private struct PageCursor {
    /// A page that could not be read; the walk of its directory ends.
    struct Unreadable: Error {
        var page: ChunkID
        var error: RepositoryError
    }

    private let pages: [ChunkID]
    private let loader: TreeLoader
    private var page = 0
    private var entries: [TreeEntry]?
    private var index = 0

    init(pages: [ChunkID], loader: TreeLoader) {
        self.pages = pages
        self.loader = loader
    }

    /// The id of the page whose first entry comes next; nil within a page and at the end.
    private var boundary: ChunkID? { entries == nil && page < pages.count ? pages[page] : nil }

    /// Passes over pages that come next on both sides and are the same.
    static func skipCommon(_ left: inout PageCursor, _ right: inout PageCursor) throws {
        while let one = left.boundary, let other = right.boundary, one == other {
            left.page += 1
            right.page += 1
        }
    }

    /// The next entry; nil at the end.
    mutating func peek() throws -> TreeEntry? {
        while page < pages.count {
            let loaded: [TreeEntry]
            if let entries {
                loaded = entries
            } else {
                do {
                    loaded = try loader.page(pages[page])
                } catch {
                    guard error.code == .damaged || error.code == .notFound || error.isMissingObject else {
                        throw error
                    }
                    throw Unreadable(page: pages[page], error: error)
                }
                entries = loaded
            }
            if index < loaded.count { return loaded[index] }
            nextPage()
        }
        return nil
    }

    /// Goes behind the entry that `peek` gave.
    mutating func advance() {
        index += 1
        if let entries, index == entries.count { nextPage() }
    }

    private mutating func nextPage() {
        page += 1
        entries = nil
        index = 0
    }
}
