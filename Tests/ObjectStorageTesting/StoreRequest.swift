package import ObjectStorage

/// One call to a store, as a decorator for tests sees it.
package struct StoreRequest: Hashable, Sendable, CustomStringConvertible {
    /// What was asked for.
    package enum Operation: String, Hashable, Sendable {
        case put, get, head, list, delete, extendRetention, serverTime

        /// Whether it changes what the store holds.
        package var isMutation: Bool { self == .put || self == .delete || self == .extendRetention }
    }

    package var operation: Operation
    /// The key, or the prefix of a listing; empty for `serverTime`.
    package var key: String
    /// Bytes of the body of a `put`.
    package var bytes: Int
    /// The range of a `get`.
    package var range: Range<UInt64>?
    /// The condition of a `put`; `.ifTag` for a `delete` by tag.
    package var condition: PutCondition
    /// One-based number among all calls to the decorator.
    package var ordinal: Int
    /// One-based number among its calls that change something; that of the last one for calls that do not.
    package var mutation: Int

    /// A request of this kind with these particulars.
    package init(
        operation: Operation, key: String, bytes: Int = 0, range: Range<UInt64>? = nil,
        condition: PutCondition = .none, ordinal: Int = 0, mutation: Int = 0
    ) {
        self.operation = operation
        self.key = key
        self.bytes = bytes
        self.range = range
        self.condition = condition
        self.ordinal = ordinal
        self.mutation = mutation
    }

    package var description: String { "\(operation.rawValue) \(key)" }
}
