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

    /// Checks all regular files below these pages that the request includes, but those `held` back, by their paths in
    /// the target; differences become failures.
    func run(pages: [ChunkID], except held: Set<[UInt8]>) throws {
        try check { push in
            var walker = TreeWalker(loader: TreeLoader(repository: context.repository, index: index))
            try walker.walk(pages: pages) { path, entry in
                try context.check()
                guard entry.metadata.type == .regular, context.wants(path, entry) else { return .descend }
                let place = context.plan.place(path)
                var entry = entry
                entry.name = place[place.count - 1]
                if !held.contains(StatePath.key(place)) { push(RestorePass.Place(path: place, entry: entry)) }
                return .descend
            }
        }
    }

    /// Checks these files.
    func run(_ files: [RestorePass.Place]) throws {
        guard !files.isEmpty else { return }
        try check { push in
            for file in files {
                try context.check()
                push(file)
            }
        }
    }

    /// Checks what `body` hands over, but what is known to have failed.
    private func check(_ body: (_ push: (RestorePass.Place) -> Void) throws -> Void) throws {
        let queue = BoundedQueue<RestorePass.Place>(limit: 256)
        let context = context
        let workers = WorkerThreads(count: context.repository.options.processors, name: "becalm-verify") { _ in
            let buffer = Buffer(capacity: 1 << 20)
            while let item = queue.pop() { Self.check(item, context, buffer) }
        }
        let known = Set(context.outcome.damaged.map(\.path) + context.outcome.failed.map(\.path))
        do {
            try body { file in
                if !known.contains(StatePath.text(file.path)) { queue.push(file) }
            }
            queue.close()
            workers.join()
        } catch {
            queue.abandon()
            workers.join()
            throw error
        }
    }

    private static func check(_ item: RestorePass.Place, _ context: RestoreContext, _ buffer: Buffer) {
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
