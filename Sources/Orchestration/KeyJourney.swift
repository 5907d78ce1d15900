package import Repository
package import RepositoryFormat

/// Changes who can open a repository. Each change happens wholly or not at all.
package struct KeyJourney: Sendable {
    private let repository: Repository

    package init(repository: Repository) { self.repository = repository }

    /// How a new slot is opened.
    package enum Way: Sendable {
        case credential(KeyCredential)
        /// The 32 bytes of an X25519 public key, whose owner need not be there.
        case recipient([UInt8])
    }

    /// The slots in the order they were made.
    package var slots: [KeySlot] { repository.slots }
    /// The id of the slot in use.
    package var ownSlot: String { repository.slotID }
    /// The epochs whose keys this slot holds.
    package var epochs: Int { repository.keyring.epochs.count }

    /// Adds a slot and answers it. Throws `busy` when somebody else changed the keys meanwhile.
    package func add(_ way: Way, role: KeyRole, label: String) async throws(JourneyError) -> KeySlot {
        try await JourneyError.mapping {
            let changed =
                switch way {
                case .credential(let credential):
                    try await repository.addSlot(credential, role: role, label: label)
                case .recipient(let key): try await repository.addRecipient(key, role: role, label: label)
                }
            guard let slot = changed.slots.last else {
                throw RepositoryError(.failed, "the new key slot is not there: run 'becalm key list'")
            }
            return slot
        }
    }

    /// Characters of an id that are needed where something is removed by it.
    package static let minimumPrefix = 4

    /// Removes the slot whose id begins with `prefix` and answers it. Throws a usage error for the slot in use unless
    /// `evenOwn`.
    package func remove(_ prefix: String, evenOwn: Bool) async throws(JourneyError) -> KeySlot {
        if !evenOwn, ownSlot.hasPrefix(prefix), repository.slots.count(where: { $0.id.hasPrefix(prefix) }) == 1 {
            throw JourneyError(
                .usage, kind: "own_key",
                "key \(ownSlot) is the one in use, and what opened it would open the repository no more: use another key for this, or --force"
            )
        }
        return try await JourneyError.mapping {
            let changed = try await repository.removeSlot(prefix)
            let left = Set(changed.slots.map(\.id))
            guard let slot = repository.slots.first(where: { !left.contains($0.id) }) else {
                throw RepositoryError(.failed, "no key slot was removed: run 'becalm key list'")
            }
            return slot
        }
    }

    /// Gives the slot in use another credential.
    package func replace(with credential: KeyCredential) async throws(JourneyError) -> KeySlot {
        try await JourneyError.mapping {
            let old = Set(repository.slots.map(\.id))
            let changed = try await repository.replaceOwnSlot(with: credential)
            guard let slot = changed.slots.first(where: { !old.contains($0.id) }) else {
                throw RepositoryError(.failed, "the key slot was not replaced: run 'becalm key list'")
            }
            return slot
        }
    }

    /// Begins a new epoch and answers its number.
    package func rotate() async throws(JourneyError) -> Int {
        try await JourneyError.mapping { try await repository.rotateKeys().keyring.epochs.count }
    }
}
