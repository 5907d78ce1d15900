/// What the data mover does, for its log.
package enum DataMoverEvent: Sendable, Equatable {
    /// A transfer has come to a phase; what is of note about it, empty for nothing.
    case phase(transfer: String, phase: String, message: String)
    /// What a transfer waits for, told when it changes.
    case waiting(transfer: String, reason: String)
    /// Something that a person should know: what cannot be done for now is tried again.
    case trouble(String)
    /// How it stands with who leads.
    case leadership(String)
}
