/// The members of a JSON object in the order in which they are written.
///
/// No two members have the same key; keys are compared by their bytes. While the keys stand in ascending order of their
/// bytes, as Go's `encoding/json` writes maps, a member that is added goes where it belongs and look-ups take
/// logarithmic time; otherwise it goes to the end and look-ups go through all members.
package struct JSONObject: Sendable {
    /// A key with its value.
    package struct Member: Sendable {
        package let key: String
        package var value: JSONValue
    }

    /// All of them, in order.
    package private(set) var members: [Member]
    /// Whether the keys ascend strictly.
    private var isOrdered: Bool

    /// No members.
    package init() {
        members = []
        isOrdered = true
    }

    /// The given members; nil when a key comes twice.
    package init?(_ members: [(key: String, value: JSONValue)]) {
        guard let object = JSONObject(members.map { Member(key: $0.key, value: $0.value) }) else { return nil }
        self = object
    }

    /// The given members; nil when a key comes twice.
    init?(_ members: [Member]) {
        self.members = members
        isOrdered = Self.ascend(members, Array(members.indices))
        if isOrdered { return }
        let indices = Self.sortedIndices(members)
        guard Self.ascend(members, indices) else { return nil }
    }

    private static func ascend(_ members: [Member], _ indices: [Int]) -> Bool {
        var previous: Int?
        for index in indices {
            if let previous, UTF8Order.compare(members[previous].key, members[index].key) >= 0 { return false }
            previous = index
        }
        return true
    }

    private static func sortedIndices(_ members: [Member]) -> [Int] {
        members.indices.sorted { UTF8Order.compare(members[$0].key, members[$1].key) < 0 }
    }

    /// How many members there are.
    package var count: Int { members.count }
    /// Whether there are none.
    package var isEmpty: Bool { members.isEmpty }
    /// The keys in order.
    package var keys: [String] { members.map(\.key) }

    /// The value of a key, nil when there is no such member; setting nil removes the member.
    package subscript(key: String) -> JSONValue? {
        get {
            let (index, isThere) = position(of: key)
            return isThere ? members[index].value : nil
        }
        set {
            let (index, isThere) = position(of: key)
            switch (newValue, isThere) {
            case (let value?, true): members[index].value = value
            case (let value?, false): members.insert(Member(key: key, value: value), at: index)
            case (nil, true): members.remove(at: index)
            case (nil, false): break
            }
        }
    }

    /// Changes the value of a key in place, without a copy of what is below it; nil when there is no such member.
    mutating func update<R, E: Error>(_ key: String, _ body: (inout JSONValue) throws(E) -> R) throws(E) -> R? {
        let (index, isThere) = position(of: key)
        guard isThere else { return nil }
        return try body(&members[index].value)
    }

    /// Where a key is, or where it would go.
    private func position(of key: String) -> (index: Int, isThere: Bool) {
        guard isOrdered else {
            let index = members.firstIndex { UTF8Order.areEqual($0.key, key) }
            return (index ?? members.count, index != nil)
        }
        var low = 0
        var high = members.count
        while low < high {
            let middle = (low + high) / 2
            let order = UTF8Order.compare(members[middle].key, key)
            if order == 0 { return (middle, true) }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        return (low, false)
    }
}

extension JSONObject: Equatable {
    /// Whether both have the same keys with equal values, in whatever order.
    package static func == (left: JSONObject, right: JSONObject) -> Bool {
        guard left.count == right.count else { return false }
        let leftIndices = left.isOrdered ? nil : sortedIndices(left.members)
        let rightIndices = right.isOrdered ? nil : sortedIndices(right.members)
        for index in 0..<left.count {
            let one = left.members[leftIndices?[index] ?? index]
            let other = right.members[rightIndices?[index] ?? index]
            guard UTF8Order.areEqual(one.key, other.key), one.value == other.value else { return false }
        }
        return true
    }
}
