package import Basics

/// How far an operation that goes on after its item is: what Velero's `Progress` asks for.
///
/// Velero takes an error of the call itself as the operation's end, so one that may pass, such as an API server that does
/// not answer, is told as an operation that is still running.
package struct OperationStatus: Hashable, Sendable {
    /// How an operation stands.
    package enum Outcome: Hashable, Sendable {
        case running
        case succeeded
        /// With the reason, on one line.
        case failed(String)
    }

    package var outcome: Outcome
    /// Done so far, in `units`.
    package var completed: Int64 = 0
    /// In all, as far as it is known; 0 for unknown.
    package var total: Int64 = 0
    /// `bytes`, `files`.
    package var units = ""
    /// What is going on, for people.
    package var description = ""
    package var started: Timestamp?
    package var updated: Timestamp?

    package init(_ outcome: Outcome) { self.outcome = outcome }
}
