internal import Basics
internal import Chunking
internal import Logging
internal import Repository
internal import RepositoryFormat
internal import Synchronization

/// A file of an earlier snapshot whose tensors may be the bases of a new file's. Its layout is read when it is first asked
/// for. Any thread of ours may ask.
final class BaseFile: Sendable {
    private enum State: Sendable {
        case unread
        case read(Tensors)
        /// It is no file of tensors, or cannot be read.
        case useless
    }

    private struct Tensors: Sendable {
        var ranges: [String: Range<UInt64>] = [:]
        /// Chunks by where they begin in the file.
        var chunks: [UInt64: (id: ChunkID, length: Int)] = [:]
    }

    private let entry: TreeEntry
    private let loader: TreeLoader
    private let logger: Logger
    private let state = Monitor<State>(.unread)

    init(_ entry: TreeEntry, loader: TreeLoader, logger: Logger) {
        self.entry = entry
        self.loader = loader
        self.logger = logger
    }

    /// The chunk of the tensor `name` that begins `offset` bytes into it and has `length` bytes, if the tensor has `size`
    /// bytes here too. Blocks the first time.
    func chunk(of name: String, size: Int, offset: Int, length: Int) -> ChunkID? {
        let known = state.withLock { state -> Tensors? in
            if case .unread = state { state = load() }
            if case .read(let tensors) = state { return tensors }
            return nil
        }
        guard let range = known?.ranges[name], range.count == size,
            let chunk = known?.chunks[range.lowerBound + UInt64(offset)], chunk.length == length
        else { return nil }
        return chunk.id
    }

    private func load() -> State {
        do {
            let file = try SnapshotFile(entry, loader: loader)
            guard let cuts = try TensorCuts(size: file.size, read: { try file.read(at: $0, into: $1) }) else {
                return .useless
            }
            var tensors = Tensors()
            for stretch in cuts.stretches {
                if let name = stretch.name { tensors.ranges[name] = stretch.range }
            }
            file.forEachChunk { tensors.chunks[$0] = (id: $1, length: $2) }
            return .read(tensors)
        } catch {
            // Without a base the new file only takes more room; what is damaged is for `verify` to tell.
            logger.debug("\(PathText.display(entry.name)) of the earlier snapshot is no base: \(error)")
            return .useless
        }
    }
}
