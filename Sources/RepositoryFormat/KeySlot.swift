package import Basics
package import Sealing

/// How a slot is opened.
package enum KeySlotKind: UInt8, Sendable {
    /// A passphrase, typed, from a file or from a command; stretched by scrypt.
    case passphrase = 1
    /// A file of at least 32 random bytes.
    case keyFile = 2
    /// A private X25519 key that its owner keeps; the table holds only the public one.
    case recipient = 3

    /// As the command line spells it.
    package var name: String {
        switch self {
        case .passphrase: "passphrase"
        case .keyFile: "key-file"
        case .recipient: "recipient"
        }
    }
}

/// scrypt's cost (RFC 7914). Memory is `128 * r * n` bytes.
package struct ScryptCost: Hashable, Sendable {
    package var n: UInt64
    package var r: UInt64
    package var p: UInt64

    /// 128 MiB, about half a second.
    package static let standard = ScryptCost(n: 1 << 17, r: 8, p: 1)
    /// What a table may ask at the least and at the most: less is no protection, more would be an attack on the reader.
    static func isAllowed(_ cost: ScryptCost) -> Bool {
        (1 << 14...1 << 20).contains(cost.n) && cost.n.nonzeroBitCount == 1 && (8...16).contains(cost.r)
            && (1...4).contains(cost.p) && cost.n * cost.r <= 1 << 23
    }

    package init(n: UInt64, r: UInt64, p: UInt64) {
        self.n = n
        self.r = r
        self.p = p
    }
}

/// What a user brings to open a repository.
package enum KeyCredential: Sendable {
    /// The bytes of a passphrase.
    case passphrase([UInt8])
    /// The content of a key file.
    case keyFile([UInt8])
    /// An X25519 private key.
    case identity(X25519PrivateKey)
}

/// A way into the repository: who holds what opens it holds its role.
///
/// A slot has a key pair of its own, whose private half lies in it under the passphrase or key file. The keyring is
/// sealed to the public half, so that a rotation can give every slot the new keys without knowing its passphrase.
package struct KeySlot: Sendable {
    /// Eight random bytes as hexadecimal text.
    package var id: String
    package var role: KeyRole
    package var kind: KeySlotKind
    /// What its maker called it; shown in lists.
    package var label: String
    package var created: Timestamp
    var salt: [UInt8]
    var cost: ScryptCost
    var publicKey: X25519PublicKey
    /// Empty for recipients: `commitment (32) ‖ AES-256-GCM(private key ‖ anchor)`; without the anchor in slots that were
    /// made before there was one.
    var wrappedPrivateKey: [UInt8]
    /// The keyring of its role, sealed to `publicKey`.
    var sealedKeyring: [UInt8]
    /// What is to be wrapped once a table takes the slot up, whose key makes the anchor; nil in a slot of a table.
    private var pending: Pending?

    private struct Pending: Sendable {
        var key: SecretKey
        var commitment: [UInt8]
        var privateKey: X25519PrivateKey
    }

    /// What `unlock` finds: the slot's private key, and the salt of the box that its keyring is in.
    struct Unlocked {
        var privateKey: X25519PrivateKey
        /// Empty where the slot has none.
        var anchor: [UInt8]
    }

    /// Bytes of an anchor.
    private static let anchorSize = 32
    private static let wrappedSize = Digest.size + 32 + AES256GCM.tagSize

    /// Whether only who knows the table key can seal a keyring to the slot that its credential opens. Those of recipients
    /// never are: nobody else can give the owner of a private key a secret that is known to be from the right hands.
    package var isAnchored: Bool {
        kind != .recipient && (pending != nil || wrappedPrivateKey.count == Self.wrappedSize + Self.anchorSize)
    }

    /// A slot that `credential` opens. Its keyring is filled in by the table that takes it up.
    package static func create(
        _ credential: KeyCredential, role: KeyRole, label: String, created: Timestamp, cost: ScryptCost = .standard
    ) throws -> KeySlot {
        let privateKey = try X25519PrivateKey.generate()
        return try create(credential, role: role, label: label, created: created, cost: cost, keyPair: privateKey)
    }

    private static func create(
        _ credential: KeyCredential, role: KeyRole, label: String, created: Timestamp, cost: ScryptCost,
        keyPair: X25519PrivateKey
    ) throws -> KeySlot {
        var slot = KeySlot(
            id: Hex.encode(try SecureRandom.bytes(8)), role: role, kind: .passphrase, label: label, created: created,
            salt: try SecureRandom.bytes(32), cost: cost, publicKey: keyPair.publicKey, wrappedPrivateKey: [],
            sealedKeyring: [])
        switch credential {
        case .passphrase: slot.kind = .passphrase
        case .keyFile: slot.kind = .keyFile
        case .identity(let identity):
            slot.kind = .recipient
            slot.publicKey = identity.publicKey
            return slot
        }
        guard ScryptCost.isAllowed(cost) else {
            throw SealingError(
                .invalidParameters, "scrypt cost n=\(cost.n) r=\(cost.r) p=\(cost.p) is outside what is allowed")
        }
        let (key, commitment) = try slot.wrappingKey(credential)
        slot.pending = Pending(key: key, commitment: commitment, privateKey: keyPair)
        return slot
    }

    /// Ties a new slot to the repository whose table key this is; one that is tied stays as it is.
    mutating func tie(to tableKey: SecretKey) throws {
        guard let pending else { return }
        wrappedPrivateKey =
            pending.commitment
            + (try AES256GCM(key: pending.key).seal(
                nonce: 0, context: context, pending.privateKey.secret.array + anchor(tableKey)))
        self.pending = nil
    }

    /// The salt of the box that the slot's keyring is sealed in, which the table key gives to who makes tables and the
    /// wrapped private key to who opens the slot. So nobody else makes a keyring that opens: the slot's public key, which
    /// a sealed box takes otherwise, is in the table for everybody to see.
    func anchor(_ tableKey: SecretKey) -> [UInt8] {
        guard isAnchored else { return [] }
        return HKDF.derive(
            secret: tableKey.array, salt: [], info: Array("becalm slot anchor v1 \(id)".utf8), count: Self.anchorSize)
    }

    /// A slot for the holder of the private key to `recipient`, who need not be there.
    package static func create(
        recipient: X25519PublicKey, role: KeyRole, label: String, created: Timestamp
    ) throws(SealingError) -> KeySlot {
        KeySlot(
            id: Hex.encode(try SecureRandom.bytes(8)), role: role, kind: .recipient, label: label, created: created,
            salt: try SecureRandom.bytes(32), cost: .standard, publicKey: recipient, wrappedPrivateKey: [],
            sealedKeyring: [])
    }

    /// Whether the slot was made for the holder of the private key to `recipient`.
    package func isOpened(byOwnerOf recipient: [UInt8]) -> Bool {
        kind == .recipient && publicKey.bytes == recipient
    }

    /// The slot's private key and anchor when `credential` opens it, nil when it does not.
    func unlock(_ credential: KeyCredential) throws -> Unlocked? {
        switch (kind, credential) {
        case (.recipient, .identity(let identity)):
            return identity.publicKey.bytes == publicKey.bytes ? Unlocked(privateKey: identity, anchor: []) : nil
        case (.passphrase, .passphrase), (.keyFile, .keyFile):
            guard wrappedPrivateKey.count == Self.wrappedSize || isAnchored else {
                throw FormatError(.damaged, "key slot \(id) is damaged")
            }
            let (key, commitment) = try wrappingKey(credential)
            guard Array(wrappedPrivateKey.prefix(Digest.size)) == commitment else { return nil }
            let bytes = try AES256GCM(key: key).open(
                nonce: 0, context: context, Array(wrappedPrivateKey.dropFirst(Digest.size)))
            return Unlocked(
                privateKey: try X25519PrivateKey(secret: SecretKey(bytes: Array(bytes.prefix(32)))),
                anchor: Array(bytes.dropFirst(32)))
        default:
            return nil
        }
    }

    /// The key that wraps the private key, and 32 bytes that commit to it: AES-GCM by itself would open under several.
    private func wrappingKey(_ credential: KeyCredential) throws -> (SecretKey, [UInt8]) {
        let stretched: [UInt8]
        switch credential {
        case .passphrase(let passphrase):
            guard ScryptCost.isAllowed(cost) else {
                throw FormatError(.damaged, "key slot \(id) asks for an impossible scrypt cost: it is damaged")
            }
            stretched = try Scrypt.derive(
                passphrase: passphrase, salt: salt, n: cost.n, r: cost.r, p: cost.p, count: 64)
        case .keyFile(let content):
            guard content.count >= 32 else {
                throw FormatError(.wrongKey, "a key file needs at least 32 bytes, this one has \(content.count)")
            }
            stretched = HKDF.derive(secret: content, salt: salt, info: Array("becalm key file v1".utf8), count: 64)
        case .identity:
            stretched = []
        }
        return (try SecretKey(bytes: Array(stretched.prefix(32))), Array(stretched.suffix(32)))
    }

    private var context: [UInt8] { Array("becalm slot v1 \(id) \(kind.rawValue) \(role.rawValue)".utf8) }

    func write(to writer: inout ByteWriter) {
        writer.write(prefixed: Array(id.utf8))
        writer.write(role.rawValue)
        writer.write(kind.rawValue)
        writer.write(prefixed: Array(label.utf8))
        writer.write(littleEndian: UInt64(bitPattern: created.nanoseconds))
        writer.write(prefixed: salt)
        writer.write(varint: cost.n)
        writer.write(varint: cost.r)
        writer.write(varint: cost.p)
        writer.write(raw: publicKey.bytes)
        writer.write(prefixed: wrappedPrivateKey)
        writer.write(prefixed: sealedKeyring)
    }

    static func read(_ reader: inout ByteReader) throws -> KeySlot {
        let id = String(decoding: try reader.readPrefixed(maximum: 16), as: UTF8.self)
        let number = try reader.readByte()
        guard let role = KeyRole(rawValue: number) else {
            throw FormatError(
                .newerVersion,
                "key slot \(id) has the role \(number), which this becalm does not know: install a newer one")
        }
        guard let kind = KeySlotKind(rawValue: try reader.readByte()) else {
            throw reader.malformed("slot kind expected")
        }
        return KeySlot(
            id: id, role: role, kind: kind,
            label: String(decoding: try reader.readPrefixed(maximum: 1024), as: UTF8.self),
            created: Timestamp(nanoseconds: Int64(bitPattern: try reader.read(UInt64.self))),
            salt: Array(try reader.readPrefixed(maximum: 64)),
            cost: ScryptCost(n: try reader.readVarint(), r: try reader.readVarint(), p: try reader.readVarint()),
            publicKey: try X25519PublicKey(bytes: Array(reader.readRaw(32))),
            wrappedPrivateKey: Array(try reader.readPrefixed(maximum: 256)),
            sealedKeyring: Array(try reader.readPrefixed(maximum: 1 << 20)))
    }
}
