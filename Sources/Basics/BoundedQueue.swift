/// A queue between threads that holds at most `limit` elements: producers wait when it is full, consumers when empty.
package final class BoundedQueue<Element: Sendable>: Sendable {
    private struct State {
        var elements: [Element] = []
        var head = 0
        var closed = false
        var count: Int { elements.count - head }

        mutating func pop() -> Element? {
            guard head < elements.count else { return nil }
            let element = elements[head]
            head += 1
            if head > 64 && head * 2 > elements.count {
                elements.removeFirst(head)
                head = 0
            }
            return element
        }
    }

    private let limit: Int
    private let state = Monitor(State())

    /// An open, empty queue.
    package init(limit: Int) {
        precondition(limit > 0)
        self.limit = limit
    }

    /// Appends `element`, waiting for room. False when the queue is closed; the element is then dropped.
    @discardableResult
    package func push(_ element: Element) -> Bool {
        state.waitAndSignal { state in
            if state.closed { return false }
            guard state.count < limit else { return nil }
            state.elements.append(element)
            return true
        }
    }

    /// The oldest element, waiting for one. Nil once the queue is closed and empty.
    package func pop() -> Element? {
        state.waitAndSignal { state -> Element?? in
            if let element = state.pop() { return .some(element) }
            return state.closed ? .some(nil) : nil
        }
    }

    /// Ends the queue: what it holds can still be taken, nothing can be added.
    package func close() {
        state.signal { $0.closed = true }
    }

    /// Ends the queue and drops what it holds.
    package func abandon() {
        state.signal { state in
            state.closed = true
            state.elements.removeAll()
            state.head = 0
        }
    }
}
