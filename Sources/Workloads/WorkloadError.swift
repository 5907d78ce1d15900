/// What keeps a workload from being read or changed.
package struct WorkloadError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One line: which object, what is wrong with it, what to do.
    package var message: String

    package init(_ message: String) { self.message = message }

    package var description: String { message }
}

/// What a user should know about a workload before it is stopped, deleted or restored.
package struct WorkloadFinding: Hashable, Sendable {
    /// Whether to go on.
    package enum Severity: Hashable, Sendable {
        /// Stopping or restoring it loses data or does not work: refused unless overridden.
        case refusal
        /// Worth a line.
        case warning
    }

    package var severity: Severity
    /// A word for programs, in kebab case: `claims-deleted-on-scale`.
    package var code: String
    /// One line: what it is and what to do about it.
    package var message: String

    package init(_ severity: Severity, _ code: String, _ message: String) {
        self.severity = severity
        self.code = code
        self.message = message
    }
}
