internal import Basics

/// Memory of one thread for the planes of a block, and the list of where they lie that the kernels take.
@safe
final class PlaneScratch {
    /// Planes lie this much further apart than they are long, or the same places of all of them would fall into the
    /// same few lines of the first-level cache.
    private static let stagger = 320

    private let memory: Buffer
    /// One place for each plane.
    let places: UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>

    init() {
        memory = Buffer(capacity: PlaneForm.blockBytes + PlaneForm.mostPlanes * Self.stagger)
        unsafe places = .allocate(capacity: PlaneForm.mostPlanes)
        unsafe places.initialize(repeating: nil, count: PlaneForm.mostPlanes)
    }

    deinit { unsafe places.deallocate() }

    /// The memory of a plane of `count` bytes; all planes of one block are as long.
    func plane(_ index: Int, count: Int) -> UnsafeMutableRawBufferPointer {
        let start = index * (count + Self.stagger)
        return unsafe UnsafeMutableRawBufferPointer(rebasing: memory.storage[start..<start + count])
    }

    /// All the memory, when there are no planes in it.
    var all: UnsafeMutableRawBufferPointer { unsafe memory.storage }
}
