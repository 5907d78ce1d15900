/// A name with a number in it: `checkpoint-200`, `model-00300.pt`.
struct NumberedName {
    private let before: Substring
    private let number: UInt64
    private let after: Substring

    /// The last number in `name`; nil when there is none, or it has more than 18 digits.
    init?(_ name: String) {
        guard let last = name.lastIndex(where: { $0.isASCII && $0.isNumber }) else { return nil }
        let head = name[...last]
        let start = head.lastIndex { !($0.isASCII && $0.isNumber) }.map { name.index(after: $0) } ?? name.startIndex
        guard name.distance(from: start, to: last) < 18, let number = UInt64(name[start...last]) else { return nil }
        before = name[..<start]
        self.number = number
        after = name[name.index(after: last)...]
    }

    /// Whether `other` differs in its number only, which is higher.
    func precedes(_ other: NumberedName) -> Bool {
        before == other.before && after == other.after && number < other.number
    }
}
