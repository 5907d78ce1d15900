internal import Basics
internal import Sealing

/// All key slots of a repository in one object, `keys/<generation>`: each change of keys is one create-if-absent of the
/// next generation, so that it happens wholly or not at all (Format.md, "Keys").
package struct KeyTable: Sendable {
    private static let magic: [UInt8] = Array("BCLMKEYS".utf8)
    /// The newest form that is read: with slots of the role `reader`, or anchored ones.
    private static let newestVersion: UInt16 = 2

    package let repositoryID: Identifier
    /// Counts from 1; the highest one that is whole counts.
    package let generation: UInt32
    package private(set) var slots: [KeySlot]
    private var authenticator: Digest

    /// A table that gives each of `slots` what its role may have of `keyring`, which must be of the role `full`.
    package static func create(
        generation: UInt32, slots: [KeySlot], keyring: Keyring
    ) throws -> KeyTable {
        guard let tableKey = keyring.tableKey else {
            try keyring.role.require(.manage, to: "change keys")
            throw FormatError(.damaged, "the keyring lacks the table key")
        }
        var table = KeyTable(
            repositoryID: keyring.repositoryID, generation: generation, slots: slots,
            authenticator: SHA256State.digest(of: []))
        for index in table.slots.indices {
            try table.slots[index].tie(to: tableKey)
            let slot = table.slots[index]
            table.slots[index].sealedKeyring = try SealedBox.seal(
                keyring.restricted(to: slot.role).encoded(), to: slot.publicKey, salt: slot.anchor(tableKey),
                label: label, context: table.context(slot))
        }
        table.authenticator = HMACSHA256(key: tableKey).authenticate(table.body())
        return table
    }

    private static let label = "becalm keyring v1"

    /// The keyring and the slot that `credential` opens. Throws `.wrongKey` when it opens none.
    ///
    /// A keyring that opens was sealed by who has the table key, where the slot is anchored; a full one also proves the
    /// table by it: a slot that somebody slipped in shows here and is refused.
    package func open(_ credential: KeyCredential) throws(FormatError) -> (keyring: Keyring, slot: KeySlot) {
        for slot in slots {
            let unlocked: KeySlot.Unlocked?
            do {
                unlocked = try slot.unlock(credential)
            } catch let error as FormatError {
                throw error
            } catch {
                throw FormatError(.damaged, "key slot \(slot.id) is damaged: \(error)", cause: error)
            }
            guard let unlocked else { continue }
            let keyring: Keyring
            do {
                keyring = try Keyring(
                    decoding: SealedBox.open(
                        slot.sealedKeyring, with: unlocked.privateKey, salt: unlocked.anchor, label: Self.label,
                        context: context(slot)))
            } catch {
                throw FormatError(
                    .damaged,
                    "the keyring of key slot \(slot.id) in key table \(generation) is damaged, or was made by somebody without a full key: \(error)",
                    cause: error)
            }
            guard keyring.repositoryID == repositoryID, keyring.role == slot.role else {
                throw FormatError(.damaged, "key table \(generation) belongs to another repository")
            }
            if let tableKey = keyring.tableKey {
                guard HMACSHA256(key: tableKey).authenticate(body()) == authenticator else {
                    throw FormatError(
                        .damaged,
                        "key table \(generation) was changed by somebody without a full key: do not add or rotate keys, look who can write to the store"
                    )
                }
            }
            return (keyring, slot)
        }
        throw FormatError(
            .wrongKey,
            "the repository has \(counted(slots.count, "key slot")), and none opens with this key: check the password, key file or identity"
        )
    }

    private func context(_ slot: KeySlot) -> [UInt8] {
        Array("becalm keyring v1 \(repositoryID) \(generation) \(slot.id) \(slot.role.rawValue)".utf8)
    }

    /// The oldest form that holds these slots.
    private var version: UInt16 { slots.contains { $0.role == .reader || $0.isAnchored } ? 2 : 1 }

    private func body() -> [UInt8] {
        var writer = ByteWriter(reserving: 1024)
        writer.write(raw: Self.magic)
        writer.write(littleEndian: version)
        writer.write(raw: repositoryID.bytes)
        writer.write(littleEndian: generation)
        writer.write(varint: UInt64(slots.count))
        for slot in slots { slot.write(to: &writer) }
        return writer.bytes
    }

    /// The stored bytes: body, MAC under the table key, SHA-256 of all before.
    package func encoded() -> [UInt8] { Checksummed.appended(to: body() + authenticator.bytes) }

    /// Reads stored bytes. Throws `.damaged` or `.newerVersion`.
    package init(decoding bytes: [UInt8]) throws(FormatError) {
        self = try FormatError.reading("the key table") {
            let checked = try Checksummed.verified(bytes, "the key table")
            var reader = ByteReader(checked)
            guard try reader.readRaw(8).elementsEqual(Self.magic) else { throw reader.malformed("magic expected") }
            let version = try reader.read(UInt16.self)
            guard version <= Self.newestVersion else {
                throw FormatError(.newerVersion, "the key table has a newer form: install a newer becalm")
            }
            let repositoryID = try Identifier.read(&reader)
            let generation = try reader.read(UInt32.self)
            let count = try reader.readCount(minimumSize: 100)
            var slots: [KeySlot] = []
            for _ in 0..<count { slots.append(try KeySlot.read(&reader)) }
            let authenticator = try Digest.read(&reader)
            try reader.expectEnd()
            let table = KeyTable(
                repositoryID: repositoryID, generation: generation, slots: slots, authenticator: authenticator)
            guard table.version == version else {
                throw reader.malformed("form \(table.version) expected, for these slots")
            }
            return table
        }
    }

    private init(repositoryID: Identifier, generation: UInt32, slots: [KeySlot], authenticator: Digest) {
        self.repositoryID = repositoryID
        self.generation = generation
        self.slots = slots
        self.authenticator = authenticator
    }
}
