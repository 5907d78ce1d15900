internal import Repository
internal import RepositoryFormat

/// Finds names for what is set aside: such as nothing else has, and the same ones again when a restore goes on.
struct AsideNamer {
    let target: RestoreTarget
    let loader: TreeLoader
    /// Whether no earlier run of the same restore can have left anything.
    let isFresh: Bool
    private let owners = OwnerNames()

    init(target: RestoreTarget, loader: TreeLoader, isFresh: Bool) {
        self.target = target
        self.loader = loader
        self.isFresh = isFresh
    }

    /// `wanted`, or `wanted-2` and so on: the first that is not among `taken` and that nothing in the target's directory
    /// `parent` has, unless an earlier run of this restore has made it. Nil when none of `most` is possible.
    func name(
        _ wanted: [UInt8], for entry: TreeEntry, in parent: [[UInt8]], taken: Set<[UInt8]>, atMost most: Int
    ) throws -> [UInt8]? {
        for number in 1...most {
            let name = number == 1 ? wanted : wanted + Array("-\(number)".utf8)
            guard EntryName.problem(name) == nil else { return nil }
            if !taken.contains(name), try isFree(name, for: entry, in: parent) { return name }
        }
        return nil
    }

    private func isFree(_ name: [UInt8], for entry: TreeEntry, in parent: [[UInt8]]) throws -> Bool {
        let directory: DirectoryHandle
        do {
            directory = try target.directory(parent, create: false)
        } catch {
            // Nothing is there, or something that the restore fails on and tells of.
            return true
        }
        guard let there = try directory.type(of: name) else { return true }
        return try !isFresh && there == entry.metadata.type && isOurs(directory, name, entry)
    }

    /// Whether `name` is what an earlier run has made of `entry`: a file of its size and time; a directory in which
    /// nothing lies that the snapshot has not, or that has another size or time.
    private func isOurs(_ directory: DirectoryHandle, _ name: [UInt8], _ entry: TreeEntry) throws -> Bool {
        guard entry.metadata.type == .directory else { return try isSame(directory, name, entry) }
        var expected: [[UInt8]: TreeEntry] = [:]
        var walker = TreeWalker(loader: loader)
        try walker.walk(pages: entry.pages) { _, child in
            expected[child.name] = child
            return .skip
        }
        let inner = try directory.openDirectory(name: name)
        return try inner.names().allSatisfy { name in
            if RestoreContext.isTemporary(name)
                || name.suffix(RestoreFile.damagedSuffix.count) == RestoreFile.damagedSuffix[...]
            {
                return true
            }
            guard let child = expected[name] else { return false }
            return try isSame(inner, name, child)
        }
    }

    private func isSame(_ directory: DirectoryHandle, _ name: [UInt8], _ entry: TreeEntry) throws -> Bool {
        let found = try directory.metadata(of: name, owners: owners, includingExtendedAttributes: false)
        return RestoreContext.isSame(found, entry.metadata)
    }
}
