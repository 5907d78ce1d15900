internal import Basics
package import Sealing

/// The keys of one epoch. A rotation begins a new one; the old stay, for what was written under them.
package struct EpochKeys: Sendable {
    /// Counts from 1.
    package var number: UInt32
    /// Seals and opens index segments, pack footers, snapshot chains and other bookkeeping; every role holds it.
    package var metaKey: SecretKey
    /// Enters every session's key, so that only holders of a slot can make objects that are believed. Opening one takes it
    /// too, so readers hold it: what keeps them from writing is this program and the store, not a cipher (Format.md,
    /// "Threat model").
    package var sessionSecret: SecretKey
    /// Session keys are sealed to it.
    package var publicKey: X25519PublicKey
    /// Opens session keys; nil for the writer role, which cannot read.
    package var privateKey: X25519PrivateKey?
}

/// The secrets of a repository as one role holds them.
package struct Keyring: Sendable {
    package var role: KeyRole
    package var repositoryID: Identifier
    /// Digest of the config object, which is stored in the clear.
    package var configDigest: Digest
    /// Makes ids of data chunks.
    package var dataIDKey: SecretKey
    /// Makes ids of tree chunks.
    package var treeIDKey: SecretKey
    /// Makes the chunker's table; two repositories cut differently. Nil for the reader role: restoring cuts nothing.
    package var chunkerKey: SecretKey?
    /// Authenticates key tables; nil for all but the full role, which alone may change them.
    package var tableKey: SecretKey?
    /// In ascending order; the last is the present one. Never empty.
    package var epochs: [EpochKeys]

    private init(
        role: KeyRole, repositoryID: Identifier, configDigest: Digest, dataIDKey: SecretKey, treeIDKey: SecretKey,
        chunkerKey: SecretKey?, tableKey: SecretKey?, epochs: [EpochKeys]
    ) {
        self.role = role
        self.repositoryID = repositoryID
        self.configDigest = configDigest
        self.dataIDKey = dataIDKey
        self.treeIDKey = treeIDKey
        self.chunkerKey = chunkerKey
        self.tableKey = tableKey
        self.epochs = epochs
    }

    /// Fresh secrets for a new repository.
    package static func generate(repositoryID: Identifier, configDigest: Digest) throws(SealingError) -> Keyring {
        Keyring(
            role: .full, repositoryID: repositoryID, configDigest: configDigest, dataIDKey: SecretKey(),
            treeIDKey: SecretKey(), chunkerKey: SecretKey(), tableKey: SecretKey(),
            epochs: [try newEpoch(1)])
    }

    private static func newEpoch(_ number: UInt32) throws(SealingError) -> EpochKeys {
        let privateKey = try X25519PrivateKey.generate()
        return EpochKeys(
            number: number, metaKey: SecretKey(), sessionSecret: SecretKey(), publicKey: privateKey.publicKey,
            privateKey: privateKey)
    }

    /// The present epoch.
    package var currentEpoch: EpochKeys { epochs[epochs.count - 1] }

    /// The keys of epoch `number`, or nil when this keyring has none of that number.
    package func epoch(_ number: UInt32) -> EpochKeys? { epochs.first { $0.number == number } }

    /// The same with one epoch more.
    package func rotated() throws(SealingError) -> Keyring {
        var next = self
        next.epochs.append(try Self.newEpoch(currentEpoch.number + 1))
        return next
    }

    /// What `role` is given of these secrets.
    package func restricted(to role: KeyRole) -> Keyring {
        var restricted = self
        restricted.role = role
        if !role.can(.manage) { restricted.tableKey = nil }
        if !role.can(.write) { restricted.chunkerKey = nil }
        if !role.can(.read) {
            for index in restricted.epochs.indices { restricted.epochs[index].privateKey = nil }
        }
        return restricted
    }

    /// Computes this repository's chunk ids.
    package var chunkIdentifier: ChunkIdentifier {
        ChunkIdentifier(dataKey: dataIDKey.array, treeKey: treeIDKey.array)
    }

    /// 2048 bytes for the chunker's table: HKDF of the chunker key. Throws `.notPermitted` for a reader, who cuts nothing.
    package func chunkerMaterial() throws(FormatError) -> [UInt8] {
        guard let chunkerKey else {
            try role.require(.write, to: "cut files into chunks")
            throw FormatError(.damaged, "the keyring lacks the chunker key")
        }
        return HKDF.derive(secret: chunkerKey.array, salt: [], info: Array("becalm gear table v1".utf8), count: 2048)
    }

    /// What stands for a chunker key that the role lacks.
    private static let noKey = [UInt8](repeating: 0, count: 32)

    /// Fields in order; absent secrets have length 0, or are zeros where the length is fixed. Only ever stored sealed.
    func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: 512)
        writer.write(1 as UInt8)
        writer.write(role.rawValue)
        writer.write(raw: repositoryID.bytes)
        writer.write(raw: configDigest.bytes)
        writer.write(raw: dataIDKey.array)
        writer.write(raw: treeIDKey.array)
        writer.write(raw: chunkerKey?.array ?? Self.noKey)
        writer.write(prefixed: tableKey?.array ?? [])
        writer.write(varint: UInt64(epochs.count))
        for epoch in epochs {
            writer.write(littleEndian: epoch.number)
            writer.write(raw: epoch.metaKey.array)
            writer.write(raw: epoch.sessionSecret.array)
            writer.write(raw: epoch.publicKey.bytes)
            writer.write(prefixed: epoch.privateKey?.secret.array ?? [])
        }
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(FormatError) {
        self = try FormatError.reading("the keyring") {
            var reader = ByteReader(bytes)
            guard try reader.readByte() == 1 else {
                throw FormatError(.newerVersion, "the keyring has a newer form: install a newer becalm")
            }
            guard let role = KeyRole(rawValue: try reader.readByte()) else { throw reader.malformed("role expected") }
            let (repositoryID, configDigest) = (try Identifier.read(&reader), try Digest.read(&reader))
            let (dataIDKey, treeIDKey) = (try SecretKey.read(&reader), try SecretKey.read(&reader))
            let chunkerKey = Array(try reader.readRaw(Self.noKey.count))
            var keyring = Keyring(
                role: role, repositoryID: repositoryID, configDigest: configDigest, dataIDKey: dataIDKey,
                treeIDKey: treeIDKey, chunkerKey: chunkerKey == Self.noKey ? nil : try SecretKey(bytes: chunkerKey),
                tableKey: try SecretKey.readOptional(&reader), epochs: [])
            let count = try reader.readCount(minimumSize: 100)
            for _ in 0..<count {
                let number = try reader.read(UInt32.self)
                let metaKey = try SecretKey.read(&reader)
                let sessionSecret = try SecretKey.read(&reader)
                let publicKey = try X25519PublicKey(bytes: Array(reader.readRaw(32)))
                let secret = try SecretKey.readOptional(&reader)
                keyring.epochs.append(
                    EpochKeys(
                        number: number, metaKey: metaKey, sessionSecret: sessionSecret, publicKey: publicKey,
                        privateKey: try secret.map { try X25519PrivateKey(secret: $0) }))
            }
            guard !keyring.epochs.isEmpty else { throw reader.malformed("an epoch expected") }
            try reader.expectEnd()
            return keyring
        }
    }
}

extension SecretKey {
    /// A copy of the bytes, for the short way into a sealed structure or a derivation.
    package var array: [UInt8] { withBytes { Array($0) } }

    static func read(_ reader: inout ByteReader) throws -> SecretKey {
        try SecretKey(bytes: Array(reader.readRaw(32)))
    }

    static func readOptional(_ reader: inout ByteReader) throws -> SecretKey? {
        let bytes = try reader.readPrefixed(maximum: 32)
        return bytes.isEmpty ? nil : try SecretKey(bytes: Array(bytes))
    }
}
