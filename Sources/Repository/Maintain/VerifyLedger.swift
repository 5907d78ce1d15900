internal import Basics
internal import Logging
internal import RepositoryFormat
internal import SystemPackage

/// When each pack was last read and found sound, on local disk, so that short checks get round to every pack.
///
/// Lines of `pack id, space, seconds since 1970`. It may be lost or wrong: then packs are read in another order.
struct VerifyLedger {
    private let path: FilePath?
    private let logger: Logger
    private(set) var checked: [Identifier: Int64] = [:]

    init(repository: Repository) {
        logger = repository.options.logger
        path = repository.options.cacheDirectory.map {
            $0.appending(repository.config.repositoryID.description).appending("verified")
        }
        guard let path, let file = try? FileDescriptor.open(path, .readOnly, options: .closeOnExec) else { return }
        defer { try? file.close() }
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count < 256 << 20, let count = try? block.withUnsafeMutableBytes({ try file.read(into: $0) }),
            count > 0
        {
            bytes += block.prefix(count)
        }
        for line in bytes.split(separator: 0x0a) {
            let words = line.split(separator: 0x20)
            guard words.count == 2, let id = Identifier(hex: String(decoding: words[0], as: UTF8.self)),
                let seconds = Int64(String(decoding: words[1], as: UTF8.self))
            else { continue }
            checked[id] = seconds
        }
    }

    /// Notes packs that were found sound at `date`, forgets those that are no more, and keeps the file.
    mutating func note(_ sound: [Identifier], at date: Timestamp, present: (Identifier) -> Bool) {
        for id in sound { checked[id] = date.seconds }
        checked = checked.filter { present($0.key) }
        guard let path else { return }
        let text = checked.map { "\($0.key) \($0.value)\n" }.sorted().joined()
        do {
            try FileTree.makeDirectories(path.removingLastComponent())
            let temporary = FilePath(path.string + ".\(SystemWallClock().now().nanoseconds).tmp")
            let file = try FileDescriptor.open(
                temporary, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec],
                permissions: [.ownerReadWrite])
            try file.closeAfter { _ = try file.writeAll(text.utf8) }
            try FileTree.rename(temporary, to: path)
        } catch {
            logger.debug("when packs were checked is not kept: \(error)")
        }
    }
}
