internal import Synchronization

/// What a process has said already, for what concerns the whole of a backup and is met at each of its items.
package final class ReportedMessages: Sendable {
    private let messages = Mutex<Set<String>>([])

    /// Messages remembered at most; what comes later is said each time.
    private static let mostMessages = 256

    package init() {}

    /// Whether nobody has said it yet; remembers it. Called on any thread.
    func isNew(_ message: String) -> Bool {
        messages.withLock { messages in
            guard messages.count < Self.mostMessages else { return !messages.contains(message) }
            return messages.insert(message).inserted
        }
    }
}
