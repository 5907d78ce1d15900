/// Why a workload was not brought to a standstill, or could not be let go again.
package struct QuiesceError: Error, Sendable, CustomStringConvertible {
    /// What a caller can tell apart.
    package enum Code: String, Sendable {
        /// Somebody else holds it.
        case busy
        /// It did not stand still in time; it runs again.
        case notInTime
        /// It was started again, or let go, by somebody else while its volumes were taken; it runs again.
        case disturbed
        /// It could not be asked for a checkpoint, or wrote none that is complete; it runs again.
        case checkpoint
        /// A trap that nobody has overridden, or a kind that cannot be stopped.
        case refused
        /// Somebody took the journal away while we held it: nothing was undone, for that is theirs to do now.
        case lost
        /// Some of what was held could not be let go.
        case notResumed
        /// The server does not serve a kind of which an object was stopped: it is let go when the kind is served again.
        case notServed
        /// It was let go, and its pods are not Ready yet: its routes wait for them, and whoever comes next opens them.
        case notServing
    }

    package var code: Code
    /// One line: which workload, what happened, what to do.
    package var message: String
    package var cause: (any Error)?
    /// With `.notServing`: what somebody else did while it was stopped.
    package var remarks: [String] = []

    package init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    package var description: String { message }
}
