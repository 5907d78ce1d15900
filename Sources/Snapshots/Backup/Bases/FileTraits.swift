internal import Chunking
internal import Repository
internal import RepositoryFormat
internal import Synchronization

/// What is known of the chunks of one large file: whether they are a tensor's, and what they may resemble. Any thread of
/// ours may ask.
final class FileTraits: Sendable {
    /// Where the file is cut; nil when it is no file of tensors.
    let cuts: TensorCuts?
    private let bases: FileBases
    private let tally = BaseTally()
    private let families = Mutex<[Int: ChunkFamily]>([:])

    init(cuts: TensorCuts?, bases: FileBases) {
        self.cuts = cuts
        self.bases = bases
    }

    /// What is known of the chunk at `range` of the file.
    func traits(of range: Range<UInt64>) -> ChunkTraits {
        guard let cuts else {
            let family = family(0) { ChunkFamily(elementWidth: nil, isFloatingPoint: false) }
            return ChunkTraits(family: family, offset: Int(range.lowerBound))
        }
        let number = cuts.stretch(at: range.lowerBound)
        let stretch = cuts.stretches[number]
        let family = family(number) {
            ChunkFamily(
                elementWidth: stretch.elementWidth, isFloatingPoint: stretch.isFloatingPoint, bases: tally)
        }
        let offset = Int(range.lowerBound - stretch.range.lowerBound)
        guard let name = stretch.name else { return ChunkTraits(family: family, offset: offset) }
        let (size, length) = (stretch.range.count, range.count)
        return ChunkTraits(
            family: family, offset: offset,
            base: bases.stored?.chunk(of: name, size: size, offset: offset, length: length),
            locals: bases.disk.compactMap { $0.chunk(of: name, size: size, offset: offset, length: length) })
    }

    private func family(_ number: Int, _ make: () -> ChunkFamily) -> ChunkFamily {
        families.withLock { families in
            if let family = families[number] { return family }
            let family = make()
            families[number] = family
            return family
        }
    }
}
