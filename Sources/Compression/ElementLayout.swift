/// How the numbers of a tensor lie in memory: little-endian, of one width, one after another.
package struct ElementLayout: Hashable, Sendable {
    /// The widths that are taken apart, in bytes.
    package static let widths = [1, 2, 4, 8]

    /// Bytes of one number, one of `widths`.
    package let width: Int
    /// Whether the top bit is a sign and an exponent follows it: the sign is then moved out of the exponent's way.
    package let isFloatingPoint: Bool

    /// The layout of numbers of `width` bytes; nil for a width that is not in `widths`.
    package init?(width: Int, isFloatingPoint: Bool) {
        guard Self.widths.contains(width) else { return nil }
        self.init(known: width, isFloatingPoint: isFloatingPoint)
    }

    private init(known width: Int, isFloatingPoint: Bool) {
        self.width = width
        self.isFloatingPoint = isFloatingPoint
    }

    /// Numbers with a sign, an exponent and a mantissa; the names are IEEE 754's, but for bfloat16.
    package static let bfloat16 = ElementLayout(known: 2, isFloatingPoint: true)
    package static let float16 = ElementLayout(known: 2, isFloatingPoint: true)
    package static let float32 = ElementLayout(known: 4, isFloatingPoint: true)
    package static let float64 = ElementLayout(known: 8, isFloatingPoint: true)
    /// Whole numbers, signed or not, and whatever else is so wide. Floating point of eight bits belongs to `integer8`:
    /// all of it is one plane, wherever the sign is.
    package static let integer8 = ElementLayout(known: 1, isFloatingPoint: false)
    package static let integer16 = ElementLayout(known: 2, isFloatingPoint: false)
    package static let integer32 = ElementLayout(known: 4, isFloatingPoint: false)
    package static let integer64 = ElementLayout(known: 8, isFloatingPoint: false)
}
