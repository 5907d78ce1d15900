internal import Basics
internal import Repository
internal import RepositoryFormat
internal import Sealing
internal import Synchronization

/// Reads every restored file back, and those that were left as found, and compares their SHA-256 with the snapshot's.
///
/// Blocks; runs on a thread of ours.
struct RestoreVerifier {
    let context: RestoreContext
    let index: RepositoryIndex

    private struct Item: Sendable {
        let path: [[UInt8]]
        let entry: TreeEntry
    }

    /// Checks all regular files below these pages that the request includes; differences become failures.
    func run(pages: [ChunkID]) throws {
        let includes = context.request.includes.map { GlobPattern($0) }
        let queue = BoundedQueue<Item>(limit: 256)
        let context = context
        let workers = WorkerThreads(count: context.repository.options.processors, name: "becalm-verify") { _ in
            let buffer = Buffer(capacity: 1 << 20)
            while let item = queue.pop() { Self.check(item, context, buffer) }
        }
        let known = Set(context.outcome.damaged.map(\.path) + context.outcome.failed.map(\.path))
        var walker = TreeWalker(loader: TreeLoader(repository: context.repository, index: index))
        do {
            try walker.walk(pages: pages) { path, entry in
                try context.check()
                let isIncluded = includes.isEmpty || includes.contains { $0.matchesOrContains(path) }
                let text = PathText.display(Array(path.joined(separator: [0x2f])))
                if entry.metadata.type == .regular, isIncluded, !known.contains(text) {
                    queue.push(Item(path: path, entry: entry))
                }
                return .descend
            }
            queue.close()
            workers.join()
        } catch {
            queue.abandon()
            workers.join()
            throw error
        }
    }

    private static func check(_ item: Item, _ context: RestoreContext, _ buffer: Buffer) {
        do {
            guard let expected = item.entry.fileDigest else {
                throw SnapshotError(.invalidArgument, "has no SHA-256 in the snapshot to be checked against")
            }
            let directory = try context.target.directory(Array(item.path.dropLast()), create: false)
            let file = try directory.openFile(name: item.entry.name)
            // What the disk holds counts, not what is still in memory.
            file.dropCache(0..<item.entry.metadata.size)
            var sha = SHA256State()
            var offset: UInt64 = 0
            while true {
                let count = try file.read(at: offset, into: buffer.storage)
                guard count > 0 else { break }
                sha.update(UnsafeRawBufferPointer(rebasing: buffer.storage[0..<count]))
                offset += UInt64(count)
            }
            context.compared()
            guard sha.finish() == expected else {
                throw SnapshotError(.damaged, "differs from the snapshot when it is read back: the disk may be failing")
            }
        } catch {
            guard context.wasLeft(item.path) else { return context.damaged(item.path, error) }
            context.failed(
                item.path,
                SnapshotError(
                    .alreadyExists,
                    "differs from the snapshot and was left as found: choose --overwrite if-changed to bring it up to date"
                ))
        }
    }
}
