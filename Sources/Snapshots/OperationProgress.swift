internal import Basics
internal import Synchronization

/// What a long operation is doing, for somebody who looks now and then. Any thread may write or look.
package final class OperationProgress: Sendable {
    /// A look at it.
    package struct Status: Hashable, Sendable {
        /// Entries dealt with.
        package var files: UInt64 = 0
        /// Entries there are, as far as is known; 0 while it is not.
        package var filesTotal: UInt64 = 0
        /// Bytes of content dealt with.
        package var bytes: UInt64 = 0
        /// Bytes there are, as far as is known; 0 while it is not.
        package var bytesTotal: UInt64 = 0
        /// What is being worked on, as text.
        package var current = ""
        /// Whether the owner has asked for an end.
        package var isCancelled = false
    }

    private let state = Mutex(Status())

    package init() {}

    /// The present status.
    package var status: Status { state.withLock { $0 } }

    /// Whether the owner has asked for an end; cheaper than a whole look.
    package var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// Asks the operation to end: it throws `.cancelled` soon.
    package func cancel() { state.withLock { $0.isCancelled = true } }

    /// Changes the status; from any thread, and not for long.
    package func update(_ body: (inout Status) -> Void) { state.withLock { body(&$0) } }
}
