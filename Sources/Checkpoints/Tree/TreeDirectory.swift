#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A directory's entries, as judges look at them.
package struct TreeDirectory: Sendable {
    /// Relative to the tree's root; "" for the root.
    package let path: String
    /// The directory's own name. The root's is that of the place where the tree lies: "" when it lies nowhere.
    package let name: String
    /// In the order of their names' bytes.
    package let entries: [TreeEntry]
    /// Whether there are more entries than the survey's limit, and these are only some of them.
    package let isPartial: Bool

    /// A directory with these entries, in any order.
    package init(path: String, name: String? = nil, entries: [TreeEntry], isPartial: Bool = false) {
        self.path = path
        self.name = name ?? TreePath.name(path)
        self.entries = entries.sorted { Self.precedes($0.name, $1.name) }
        self.isPartial = isPartial
    }

    /// Whether it has no entries, or none that are left.
    package var isEmpty: Bool { entries.isEmpty }

    private static func compare(_ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>) -> CInt {
        guard let first = left.baseAddress, let second = right.baseAddress else { return 0 }
        return memcmp(first, second, min(left.count, right.count))
    }

    /// By bytes, for names that Unicode holds to be equal are two files all the same.
    private static func precedes(_ left: String, _ right: String) -> Bool {
        let order = left.utf8.withContiguousStorageIfAvailable { left in
            right.utf8.withContiguousStorageIfAvailable { right in
                let common = compare(left, right)
                return common == 0 ? left.count < right.count : common < 0
            }
        }
        return (order ?? nil) ?? left.utf8.lexicographicallyPrecedes(right.utf8)
    }

    /// The entry with this name.
    package subscript(_ name: String) -> TreeEntry? {
        var range = 0..<entries.count
        while !range.isEmpty {
            let middle = range.lowerBound + range.count / 2
            if Self.precedes(entries[middle].name, name) {
                range = middle + 1..<range.upperBound
            } else {
                range = range.lowerBound..<middle
            }
        }
        guard range.lowerBound < entries.count, entries[range.lowerBound].name.utf8.elementsEqual(name.utf8) else {
            return nil
        }
        return entries[range.lowerBound]
    }

    /// Whether there is a file of this name, or a symbolic link, which may lead to one.
    package func hasFile(_ name: String) -> Bool {
        guard let entry = self[name] else { return false }
        return entry.kind == .file || entry.isLink
    }

    /// Whether there is a directory of this name, or a symbolic link, which may lead to one.
    package func hasDirectory(_ name: String) -> Bool {
        guard let entry = self[name] else { return false }
        return entry.kind == .directory || entry.isLink
    }

    /// The names of files and of symbolic links, which may lead to some.
    package var fileNames: [String] { entries.filter { $0.kind == .file || $0.isLink }.map(\.name) }

    /// The names of directories.
    package var directoryNames: [String] { entries.filter { $0.kind == .directory }.map(\.name) }

    /// The path of an entry.
    package func path(_ name: String) -> String { TreePath.join(path, name) }

    /// The same without the entries of these names.
    package func without(_ names: Set<String>) -> TreeDirectory {
        TreeDirectory(
            path: path, name: name, entries: entries.filter { !names.contains($0.name) }, isPartial: isPartial)
    }
}
