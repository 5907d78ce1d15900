internal import Basics
internal import Chunking
internal import Logging
internal import Repository
internal import RepositoryFormat

/// A file on the disk whose tensors may be the bases of a new file's: another checkpoint of the same run. Opened, and its
/// layout read, when it is first asked for. Any thread of ours may ask.
///
/// Nothing is known of which of its chunks the repository has: a key that writes only cannot read that. So each is read
/// where the new file's tensor has one, and its SHA-256, some 0.7 CPU seconds for each GB, tells. What is not stored
/// whole, as the chunks of a checkpoint that is a difference itself, is soon asked for seldom.
final class DiskBaseFile: Sendable {
    private enum State: Sendable {
        case unread
        case read(FileReader, ranges: [String: Range<UInt64>])
        /// It is no file of tensors, or cannot be read.
        case useless
    }

    /// After so many chunks in a row that the repository has not whole, one in `spacing` is read.
    private static let patience = 6
    private static let spacing = 32

    private let path: [[UInt8]]
    private let tree: DiskTree
    private let logger: Logger
    private let state = Monitor<State>(.unread)
    private let luck = Monitor<(unknown: Int, passedOver: Int)>((0, 0))

    /// The file at `path` in `tree`.
    init(at path: [[UInt8]], in tree: DiskTree, logger: Logger) {
        self.path = path
        self.tree = tree
        self.logger = logger
    }

    /// The bytes of the tensor `name` that begin `offset` bytes into it, `length` of them, if the tensor has `size` bytes here
    /// too and it is worth looking. Blocks the first time.
    func chunk(of name: String, size: Int, offset: Int, length: Int) -> (any LocalBase)? {
        let known = state.withLock { state -> (FileReader, Range<UInt64>)? in
            if case .unread = state { state = load() }
            guard case .read(let reader, let ranges) = state, let range = ranges[name] else { return nil }
            return (reader, range)
        }
        guard let (reader, range) = known, range.count == size, offset + length <= size, isWorthwhile() else {
            return nil
        }
        return Piece(file: self, reader: reader, offset: range.lowerBound + UInt64(offset))
    }

    private func isWorthwhile() -> Bool {
        luck.withLock { luck in
            guard luck.unknown >= Self.patience else { return true }
            luck.passedOver += 1
            return luck.passedOver % Self.spacing == 0
        }
    }

    private func load() -> State {
        do {
            let reader = try tree.openFile(path)
            let size = try reader.metadata().size
            guard let cuts = try TensorCuts(size: size, read: { try reader.read(at: $0, into: $1) }) else {
                return .useless
            }
            var ranges: [String: Range<UInt64>] = [:]
            for stretch in cuts.stretches {
                if let name = stretch.name { ranges[name] = stretch.range }
            }
            return .read(reader, ranges: ranges)
        } catch {
            // Without a base the new file only takes more room; the walk tells what cannot be read.
            logger.debug("\(PathText.display(path.last ?? [])) on the disk is no base: \(error)")
            return .useless
        }
    }

    /// What may be a chunk.
    private struct Piece: LocalBase {
        let file: DiskBaseFile
        let reader: FileReader
        let offset: UInt64

        func read(into buffer: UnsafeMutableRawBufferPointer) -> Bool {
            // What cannot be read, or is gone by now, is no base.
            (try? reader.read(at: offset, into: buffer)) == buffer.count
        }

        func note(isBase: Bool) { file.luck.withLock { $0.unknown = isBase ? 0 : $0.unknown + 1 } }
    }
}
