internal import Basics
internal import Logging
internal import RepositoryFormat
internal import SystemPackage

/// Decoded index segments on local disk, one file each, so that they are fetched once and mapped afterwards.
///
/// A file is written under a temporary name and renamed: readers see it whole or not at all. Failures of the disk are
/// no failures of ours: the segment is then kept in memory.
struct SegmentCache: Sendable {
    let directory: FilePath?
    let logger: Logger

    init(root: FilePath?, repositoryID: Identifier, logger: Logger) {
        directory = root.map { $0.appending(repositoryID.description).appending("index") }
        self.logger = logger
    }

    private func path(_ id: Identifier) -> FilePath? { directory?.appending(id.description) }

    /// The cached segment, or nil.
    func load(_ id: Identifier) -> IndexSegment? {
        guard let path = path(id), let mapped = try? MappedBytes(path: path) else { return nil }
        do {
            return try IndexSegment(id: id, mapped: mapped)
        } catch {
            logger.debug("cached index segment \(id) is not used: \(error)")
            return nil
        }
    }

    /// Keeps plain bytes and answers the segment, mapped when that worked.
    func store(_ id: Identifier, _ plain: Buffer) throws(FormatError) -> IndexSegment {
        if let path = path(id), let directory {
            do {
                try FileTree.makeDirectories(directory)
                let temporary = directory.appending("\(id).\(SystemWallClock().now().nanoseconds).tmp")
                let file = try FileDescriptor.open(
                    temporary, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec],
                    permissions: [.ownerReadWrite])
                try file.closeAfter { _ = try file.writeAll(plain.bytes) }
                try FileTree.rename(temporary, to: path)
                if let cached = load(id) { return cached }
            } catch {
                logger.debug("index segment \(id) is not cached: \(error)")
            }
        }
        return try IndexSegment(id: id, mapped: MappedBytes(plain))
    }

    /// Removes cached segments that are not among `live`.
    func prune(keeping live: Set<Identifier>) {
        guard let directory else { return }
        for name in FileTree.names(in: directory) {
            if let id = Identifier(hex: name), live.contains(id) { continue }
            FileTree.remove(directory.appending(name))
        }
    }
}
