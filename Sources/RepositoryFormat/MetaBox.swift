internal import Basics
internal import Sealing

/// Bookkeeping sealed under an epoch's meta key, which every role holds.
///
/// `epoch (4) ‖ salt (32, random) ‖ AES-256-GCM(HKDF(meta key, salt, label), nonce 0, context = label ‖ name, plaintext)`.
/// The fresh salt gives each box a key of its own, so that writers need not share a nonce counter; the name in the
/// context makes a box good only for the object it was made for.
package enum MetaBox {
    /// Bytes that a box is longer than what it holds.
    package static let overhead = 4 + 32 + AES256GCM.tagSize

    /// Seals `plaintext` for the object `name` under the keyring's current epoch. Throws `.notPermitted` for a reader, and
    /// when a cipher or the system's randomness fails.
    package static func seal(
        _ plaintext: [UInt8], label: String, name: String, keyring: Keyring
    ) throws -> [UInt8] {
        try keyring.role.require(.write, to: "store anything")
        let epoch = keyring.currentEpoch
        let salt = try SecureRandom.bytes(32)
        var header = ByteWriter(reserving: 36)
        header.write(littleEndian: epoch.number)
        header.write(raw: salt)
        let cipher = try AES256GCM(key: derive(epoch, salt, label))
        return header.bytes + (try cipher.seal(nonce: 0, context: context(label, name), plaintext))
    }

    /// Throws `.damaged` when it does not open.
    package static func open(
        _ box: [UInt8], label: String, name: String, keyring: Keyring
    ) throws(FormatError) -> [UInt8] {
        do {
            var reader = ByteReader(box)
            let number = try reader.read(UInt32.self)
            let salt = Array(try reader.readRaw(32))
            guard let epoch = keyring.epoch(number) else {
                throw FormatError(
                    .damaged,
                    "\(name) names key epoch \(number), which this key does not have: it is damaged, or newer than the key table"
                )
            }
            let cipher = try AES256GCM(key: derive(epoch, salt, label))
            return try cipher.open(nonce: 0, context: context(label, name), Array(reader.readRaw(reader.remaining)))
        } catch let error as FormatError {
            throw error
        } catch {
            throw FormatError(
                .damaged, "\(name) is damaged or does not belong to this repository: \(error)", cause: error)
        }
    }

    private static func derive(_ epoch: EpochKeys, _ salt: [UInt8], _ label: String) throws(SealingError) -> SecretKey {
        try SecretKey(
            bytes: HKDF.derive(
                secret: epoch.metaKey.array, salt: salt, info: Array("becalm meta \(label)".utf8), count: 32))
    }

    private static func context(_ label: String, _ name: String) -> [UInt8] { Array("\(label)\u{0}\(name)".utf8) }
}
