internal import Basics
package import Sealing

/// A snapshot as it is stored under `snapshots/<id>`: the commit point.
///
/// `magic (8) ‖ version (2) ‖ 0 (2) ‖ session header (100) ‖ chain length (4) ‖ chain (MetaBox) ‖ sealed manifest`. The
/// manifest is sealed with the session's key, nonce 2^64 - 1, and the context `id ‖ all bytes before it`.
package struct SnapshotObject: Sendable {
    private static let magic: [UInt8] = Array("BCLMSNAP".utf8)
    private static let version: UInt16 = 1
    private static let label = "snapshot chain v1"
    private static let manifestNonce = UInt64.max
    /// The largest object a reader takes.
    package static let maximumBytes = 64 << 20

    package let id: Identifier
    package let chain: SnapshotChain
    /// SHA-256 of the stored bytes: what the next in the chain names.
    package let digest: Digest
    private let session: SessionHeader
    private let head: [UInt8]
    private let sealedManifest: [UInt8]

    /// The stored bytes of a new snapshot.
    package static func encode(
        id: Identifier, chain: SnapshotChain, manifest: SnapshotManifest, session: SessionHeader, sessionKey: SecretKey,
        keyring: Keyring
    ) throws -> [UInt8] {
        var writer = ByteWriter(reserving: 4096)
        writer.write(raw: magic)
        writer.write(littleEndian: version)
        writer.write(littleEndian: 0 as UInt16)
        writer.write(raw: session.encoded())
        let box = try MetaBox.seal(chain.encoded(), label: label, name: id.description, keyring: keyring)
        writer.write(littleEndian: UInt32(box.count))
        writer.write(raw: box)
        let sealed = try AES256GCM(key: sessionKey).seal(
            nonce: manifestNonce, context: id.bytes + writer.bytes, manifest.encoded())
        return writer.bytes + sealed
    }

    /// Reads what every role can read. Throws `.damaged`, also for a newer form: nothing vouches for these bytes yet, and
    /// a repository with newer forms says so in its config.
    package init(id: Identifier, decoding bytes: [UInt8], keyring: Keyring) throws(FormatError) {
        self = try FormatError.reading("snapshot \(id)") {
            var reader = ByteReader(bytes)
            guard try reader.readRaw(8).elementsEqual(Self.magic) else { throw reader.malformed("magic expected") }
            guard try reader.read(UInt16.self) <= Self.version else {
                throw FormatError(
                    .damaged, "snapshot \(id) claims a newer form: it is damaged, or a newer becalm has written it")
            }
            _ = try reader.read(UInt16.self)
            let session = try SessionHeader.read(&reader)
            let count = try reader.read(UInt32.self)
            let box = Array(try reader.readRaw(Int(count)))
            let chain = try SnapshotChain(
                decoding: MetaBox.open(box, label: Self.label, name: id.description, keyring: keyring))
            let head = Array(bytes.prefix(reader.offset))
            return SnapshotObject(
                id: id, chain: chain, digest: SHA256State.digest(of: bytes), session: session, head: head,
                sealedManifest: Array(try reader.readRaw(reader.remaining)))
        }
    }

    private init(
        id: Identifier, chain: SnapshotChain, digest: Digest, session: SessionHeader, head: [UInt8],
        sealedManifest: [UInt8]
    ) {
        self.id = id
        self.chain = chain
        self.digest = digest
        self.session = session
        self.head = head
        self.sealedManifest = sealedManifest
    }

    /// The manifest. Throws `.notPermitted` for a writer, `.damaged` when it does not open.
    package func manifest(keyring: Keyring) throws(FormatError) -> SnapshotManifest {
        let key = try session.openKey(keyring: keyring)
        let bytes: [UInt8]
        do {
            bytes = try AES256GCM(key: key).open(
                nonce: Self.manifestNonce, context: id.bytes + head, sealedManifest)
        } catch {
            throw FormatError(.damaged, "snapshot \(id) is damaged: \(error)", cause: error)
        }
        return try SnapshotManifest(decoding: bytes)
    }
}
