internal import Basics
package import Sealing

/// Which session sealed an object, with the session's key sealed to its epoch's public key: 100 bytes that stand in
/// every pack and snapshot, so that each can be read by itself.
///
/// `session id (16) ‖ epoch (4) ‖ ephemeral public key (32) ‖ sealed key (32 + 16)`. The epoch's session secret is the
/// salt of the derivation: without a slot of this repository nobody makes a session that opens.
package struct SessionHeader: Hashable, Sendable {
    /// Bytes of an encoded header.
    package static let size = 16 + 4 + 32 + 32 + AES256GCM.tagSize

    package let sessionID: Identifier
    package let epoch: UInt32
    private let sealedKey: [UInt8]

    /// A new session: random id, random key. The key never leaves the process but sealed. Throws `.notPermitted` for a
    /// reader, and when a cipher or the system's randomness fails.
    package static func create(keyring: Keyring) throws -> (header: SessionHeader, key: SecretKey) {
        try keyring.role.require(.write, to: "store anything")
        let epoch = keyring.currentEpoch
        let sessionID = try Identifier.random()
        let key = SecretKey()
        let sealed = try SealedBox.seal(
            key.array, to: epoch.publicKey, salt: epoch.sessionSecret.array, label: label,
            context: context(keyring.repositoryID, sessionID, epoch.number))
        return (SessionHeader(sessionID: sessionID, epoch: epoch.number, sealedKey: sealed), key)
    }

    private static let label = "becalm session key v1"

    private init(sessionID: Identifier, epoch: UInt32, sealedKey: [UInt8]) {
        self.sessionID = sessionID
        self.epoch = epoch
        self.sealedKey = sealedKey
    }

    /// The session's key. Throws `.notPermitted` for a writer, `.damaged` when it does not open.
    package func openKey(keyring: Keyring) throws(FormatError) -> SecretKey {
        guard let keys = keyring.epoch(epoch) else {
            throw FormatError(.damaged, "session \(sessionID) names key epoch \(epoch), which this key does not have")
        }
        guard let privateKey = keys.privateKey else {
            try keyring.role.require(.read, to: "decrypt what is stored")
            throw FormatError(.damaged, "the keyring lacks the private key of epoch \(epoch)")
        }
        do {
            let bytes = try SealedBox.open(
                sealedKey, with: privateKey, salt: keys.sessionSecret.array, label: Self.label,
                context: Self.context(keyring.repositoryID, sessionID, epoch))
            return try SecretKey(bytes: bytes)
        } catch {
            throw FormatError(.damaged, "the key of session \(sessionID) does not open: \(error)", cause: error)
        }
    }

    /// The encoded header, `size` bytes.
    package func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: Self.size)
        writer.write(raw: sessionID.bytes)
        writer.write(littleEndian: epoch)
        writer.write(raw: sealedKey)
        return writer.bytes
    }

    static func read(_ reader: inout ByteReader) throws(ByteReader.Malformed) -> SessionHeader {
        SessionHeader(
            sessionID: try Identifier.read(&reader), epoch: try reader.read(UInt32.self),
            sealedKey: Array(try reader.readRaw(SealedBox.overhead + 32)))
    }

    private static func context(_ repositoryID: Identifier, _ sessionID: Identifier, _ epoch: UInt32) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(raw: repositoryID.bytes)
        writer.write(raw: sessionID.bytes)
        writer.write(littleEndian: epoch)
        return writer.bytes
    }
}
