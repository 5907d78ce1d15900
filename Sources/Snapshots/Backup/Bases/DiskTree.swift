internal import Basics
internal import CFileSystemShims
internal import RepositoryFormat

/// The sources of a backup as they lie on the disk, to look for files in. A directory or a file is its path from the
/// snapshot's root; nothing is kept open.
///
/// What cannot be looked at is not there: the walk tells of it. What is excluded is not looked at.
struct DiskTree: BaseTree, Sendable {
    private let request: BackupRequest
    private let excludes: [GlobPattern]

    init(_ request: BackupRequest) {
        self.request = request
        excludes = request.excludes.map { GlobPattern($0) }
    }

    typealias Entry = BaseTreeEntry<[[UInt8]], [[UInt8]]>

    var root: [[UInt8]] { [] }

    func entry(named name: [UInt8], in directory: [[UInt8]]) -> Entry? {
        guard !directory.isEmpty else { return source(named: name) }
        guard let handle = try? open(directory) else { return nil }
        return found(name, in: handle, directory)
    }

    func entries(
        of directory: [[UInt8]], most: Int, where fits: ([UInt8]) -> Bool
    ) -> (entries: [Entry], names: Int) {
        guard !directory.isEmpty else {
            let names = request.paths.map { SourceWalker.rootName($0) }
            return (names.filter(fits).compactMap(source), names.count)
        }
        guard let handle = try? open(directory), let names = try? handle.names() else { return ([], 0) }
        return (names.prefix(most).filter(fits).compactMap { found($0, in: handle, directory) }, names.count)
    }

    /// The file at `path`, opened. Throws what opening its directories and it throws.
    func openFile(_ path: [[UInt8]]) throws(SnapshotError) -> FileReader {
        guard let name = path.last, path.count > 1 else {
            let (directory, name) = try parent(path.first ?? [])
            return try directory.openFile(name: name ?? [])
        }
        return try open(Array(path.dropLast())).openFile(name: name)
    }

    private func open(_ path: [[UInt8]]) throws(SnapshotError) -> DirectoryHandle {
        let (parent, name) = try parent(path.first ?? [])
        var directory = parent
        if let name { directory = try directory.openDirectory(name: name) }
        for name in path.dropFirst() { directory = try directory.openDirectory(name: name) }
        return directory
    }

    /// The directory that holds the source called `name` in the snapshot, and its name there; nil for `/`.
    private func parent(_ name: [UInt8]) throws(SnapshotError) -> (DirectoryHandle, [UInt8]?) {
        guard let path = request.paths.first(where: { SourceWalker.rootName($0) == name }) else {
            throw SnapshotError(.sourceMissing, "there is no source called \(PathText.display(name))")
        }
        return try SourceWalker.openParent(of: path)
    }

    private func source(named name: [UInt8]) -> Entry? {
        guard let (directory, own) = try? parent(name) else { return nil }
        guard let own else { return Entry(name: name, modified: .init(nanoseconds: 0), content: .directory([name])) }
        var entry = found(own, in: directory, [], mayCross: true)
        entry?.name = name
        return entry
    }

    /// `mayCross`: it may lie on another file system than its directory, whatever the request says.
    private func found(
        _ name: [UInt8], in handle: DirectoryHandle, _ directory: [[UInt8]], mayCross: Bool = false
    ) -> Entry? {
        let path = directory + [name]
        guard !directory.isEmpty ? !excludes.contains(where: { $0.matches(path) }) : true,
            let status = try? handle.status(of: name)
        else { return nil }
        if request.oneFileSystem && !mayCross {
            guard let own = try? handle.ownStatus(), own.device == status.device else { return nil }
        }
        switch status.type {
        case .directory: return Entry(name: name, modified: status.modified, content: .directory(path))
        case .regular where status.size > SmallFile.limit:
            return Entry(name: name, modified: status.modified, content: .file(path))
        default: return nil
        }
    }
}
