/// How the chunks of a tensor are to be taken apart and stored, as a sample of one of them suggests.
struct PlanePlan: Hashable, Sendable {
    /// How a plane is to be stored, if it turns out to pay in the block at hand. A plane of one value is always stored
    /// as such.
    enum Method: UInt8, Sendable {
        case stored
        /// A list of runs, where there are few.
        case runs
        /// zstd without a search for repetitions: the frequencies of single bytes only.
        case literals
        /// zstd at level 1.
        case matches
    }

    var width: Int
    var transform: PlaneForm.Transform
    /// Where an element begins, in bytes from where the tensor's (or the file's) offsets are counted, modulo the width.
    var anchor: Int
    /// Two bits for each plane, the least significant plane lowest.
    private var methods: UInt16 = 0

    init(width: Int, transform: PlaneForm.Transform, anchor: Int) {
        self.width = width
        self.transform = transform
        self.anchor = anchor
    }

    /// How plane `plane` is to be stored.
    subscript(plane: Int) -> Method {
        get { Method(rawValue: UInt8(methods >> UInt16(2 * plane) & 3)) ?? .stored }
        set {
            methods &= ~(3 << UInt16(2 * plane))
            methods |= UInt16(newValue.rawValue) << UInt16(2 * plane)
        }
    }

    /// Whether it takes elements apart in the same way, whatever it does with the planes.
    func resembles(_ other: PlanePlan) -> Bool {
        width == other.width && transform == other.transform && anchor == other.anchor
    }

    /// The bytes before the first whole element of a chunk that begins at `offset`.
    func phase(at offset: Int) -> Int {
        let behind = (offset - anchor) & (width - 1)
        return (width - behind) & (width - 1)
    }
}
