internal import Basics
internal import Kubernetes
internal import Repository
internal import RepositoryFormat

/// The key slots of runs of movers, which are told by their labels.
struct MoverSlots: Sendable {
    let open: @Sendable () async throws -> Repository

    private static let prefix = "mover "
    /// Times that a change is tried when somebody else changes the keys, too.
    private static let attempts = 8
    /// Seconds after which a slot is nobody's, whatever became of its run's Lease: twice the longest life of a mover.
    static let lifeSeconds = 1_209_600.0

    /// What tells a repository from others.
    static func identifier(_ repository: Repository) -> String { "\(repository.config.repositoryID)" }

    /// One change at a time in this process: there are servers that let the second of two writers overwrite the first,
    /// whatever they are asked, and with many movers at once a key would be lost.
    private static let turn = Turnstile(places: 1)

    /// Adds the slot of a run, and looks whether it is there after that: another process may have overwritten it.
    func add(key: [UInt8], role: KeyRole, run: String) async throws -> KeySlot {
        var attempt = 0
        while true {
            attempt += 1
            let slot = try await changing { keys in
                try await keys.add(.credential(.keyFile(key)), role: role, label: Self.prefix + run)
            }
            if try await open().slots.contains(where: { $0.id == slot.id }) { return slot }
            guard attempt < Self.attempts else {
                throw JourneyError(
                    .busy, kind: "key_lost",
                    "the key of a mover was overwritten \(attempt) times: somebody else changes the repository's keys on a server that does not keep writers apart"
                )
            }
        }
    }

    /// Removes the slots of a run, if there are any.
    func remove(run: String) async throws { try await remove { $0.label == Self.prefix + run } }

    /// Removes slots that no living run can have.
    func removeForgotten(now: Timestamp) async throws {
        try await remove { slot in
            slot.label.hasPrefix(Self.prefix) && now - slot.created > Self.lifeSeconds
        }
    }

    private func remove(_ isMeant: @escaping @Sendable (KeySlot) -> Bool) async throws {
        while let slot = try await open().slots.first(where: isMeant) {
            do {
                _ = try await changing { keys in
                    try await keys.remove(slot.id, evenOwn: false)
                }
            } catch let error as JourneyError where error.kind == "not_found" {
                // Somebody else has removed it.
                continue
            }
        }
    }

    /// One change of the keys, from the start again when somebody else was faster.
    private func changing(_ change: @Sendable (KeyJourney) async throws -> KeySlot) async throws -> KeySlot {
        var attempt = 0
        while true {
            attempt += 1
            do {
                return try await Self.turn.pass { try await change(KeyJourney(repository: try await open())) }
            } catch let error as JourneyError where error.status == .busy && attempt < Self.attempts {
                try await Task.sleep(for: .milliseconds(Int.random(in: 50...500) * attempt))
            }
        }
    }
}
