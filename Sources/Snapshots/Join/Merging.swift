internal import Repository
internal import RepositoryFormat

/// Goes along several directories at once, in the order of names. Holds a page of each in memory.
struct Merging {
    /// All that has one name.
    struct Next {
        let name: [UInt8]
        /// In the order of the parts.
        var entries: [(part: Int, entry: TreeEntry)] = []
        /// A place of the request.
        var place: JoinPlace?
    }

    private struct Cursor {
        let part: Int
        var pages: ArraySlice<ChunkID>
        var entries: ArraySlice<TreeEntry> = []
    }

    private let loader: TreeLoader
    private var cursors: [Cursor]
    private var places: ArraySlice<(key: [UInt8], value: JoinPlace)>

    /// The entries of `directories`, in the order of their parts, and the places within `place`.
    init(_ directories: [PartDirectory], _ place: JoinPlace?, _ loader: TreeLoader) {
        self.loader = loader
        cursors = directories.map { Cursor(part: $0.part, pages: $0.pages[...]) }
        places = (place?.children ?? [:]).sorted { $0.key.lexicographicallyPrecedes($1.key) }[...]
    }

    /// What has the next name; nil at the end. Throws what reading a page throws.
    mutating func next() throws(RepositoryError) -> Next? {
        var least = places.first?.key
        for index in cursors.indices {
            while cursors[index].entries.isEmpty, let page = cursors[index].pages.popFirst() {
                cursors[index].entries = try loader.page(page)[...]
            }
            guard let name = cursors[index].entries.first?.name else { continue }
            if least.map({ name.lexicographicallyPrecedes($0) }) ?? true { least = name }
        }
        guard let least else { return nil }
        var next = Next(name: least)
        for index in cursors.indices where cursors[index].entries.first?.name == least {
            next.entries.append((cursors[index].part, cursors[index].entries.removeFirst()))
        }
        if places.first?.key == least {
            let place = places.removeFirst().value
            next.entries = (next.entries + place.files).sorted { $0.part < $1.part }
            if place.isDirectory { next.place = place }
        }
        return next
    }
}
