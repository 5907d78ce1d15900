/// What a key slot may do.
package enum KeyRole: UInt8, Sendable, CaseIterable {
    /// Everything.
    case full = 1
    /// Add chunks and snapshots, recognise chunks that are there already; decrypt no content.
    case writer = 2
    /// Decrypt what is stored; add, change and remove nothing.
    case reader = 3

    /// What a journey needs its key for.
    package enum Ability: Sendable, CaseIterable {
        /// Decrypt what is stored.
        case read
        /// Add chunks and snapshots.
        case write
        /// Change keys, remove what is stored, and whatever must both read and write.
        case manage
    }

    /// As the command line spells it.
    package var name: String {
        switch self {
        case .full: "full"
        case .writer: "writer"
        case .reader: "reader"
        }
    }

    /// Whether a key of this role can do that.
    package func can(_ ability: Ability) -> Bool {
        switch self {
        case .full: true
        case .writer: ability == .write
        case .reader: ability == .read
        }
    }

    /// Says in one line that a key of this role cannot do `what`, and which roles have the `ability` that it takes.
    package func refusal(_ ability: Ability, to what: String) -> String {
        // The least powerful first: it is the one to use.
        let others = Self.allCases.reversed().filter { $0.can(ability) }.map { "'\($0.name)'" }
        return "a \(name) key cannot \(what): use a key of the role \(others.joined(separator: " or "))"
    }

    /// Throws `.notPermitted`, with a line that names the roles that can, unless this one can.
    package func require(_ ability: Ability, to what: String) throws(FormatError) {
        if !can(ability) { throw FormatError(.notPermitted, refusal(ability, to: what)) }
    }
}
