internal import Synchronization

/// A number that tasks share.
package final class Counter: Sendable {
    private let number: Atomic<Int>

    /// A counter that stands at `value`.
    package init(_ value: Int = 0) { number = Atomic(value) }

    /// Where it stands.
    package var value: Int { number.load(ordering: .sequentiallyConsistent) }

    /// Adds `amount` and gives the new value.
    @discardableResult
    package func add(_ amount: Int = 1) -> Int {
        number.add(amount, ordering: .sequentiallyConsistent).newValue
    }
}
