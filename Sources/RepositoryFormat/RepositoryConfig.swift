package import Basics
internal import Sealing

/// What never changes about a repository, stored in the clear under `config` and once more under `config.copy`.
///
/// It is authentic because the keyring, which is sealed, holds its digest (Format.md, "Config").
package struct RepositoryConfig: Hashable, Sendable {
    /// The newest format this code reads and writes.
    package static let currentVersion: UInt16 = 1
    private static let magic: [UInt8] = Array("BCLMCONF".utf8)

    package var version: UInt16
    package var repositoryID: Identifier
    package var created: Timestamp
    /// Bytes: the chunker's smallest, average and largest chunk.
    package var chunkMinimum: UInt32
    package var chunkAverage: UInt32
    package var chunkMaximum: UInt32
    /// Names the way chunk ids are made; `1` is HMAC-SHA-256 of SHA-256.
    package var identityAlgorithm: UInt8
    /// Seconds a condemned pack waits, by the store's clock, before it may be removed.
    package var graceSeconds: UInt64

    package init(
        repositoryID: Identifier, created: Timestamp, chunkMinimum: UInt32 = 512 << 10, chunkAverage: UInt32 = 2 << 20,
        chunkMaximum: UInt32 = 8 << 20, graceSeconds: UInt64 = 86_400
    ) {
        version = Self.currentVersion
        self.repositoryID = repositoryID
        self.created = created
        self.chunkMinimum = chunkMinimum
        self.chunkAverage = chunkAverage
        self.chunkMaximum = chunkMaximum
        identityAlgorithm = 1
        self.graceSeconds = graceSeconds
    }

    /// The stored bytes: magic, version, fields, SHA-256 of all before.
    package func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: 128)
        writer.write(raw: Self.magic)
        writer.write(littleEndian: version)
        writer.write(raw: repositoryID.bytes)
        writer.write(littleEndian: UInt64(bitPattern: created.nanoseconds))
        writer.write(littleEndian: chunkMinimum)
        writer.write(littleEndian: chunkAverage)
        writer.write(littleEndian: chunkMaximum)
        writer.write(identityAlgorithm)
        writer.write(littleEndian: graceSeconds)
        return Checksummed.appended(to: writer.bytes)
    }

    /// Reads stored bytes. Throws `.damaged` or `.newerVersion`.
    package init(decoding bytes: [UInt8]) throws(FormatError) {
        self = try FormatError.reading("the repository's config") {
            guard bytes.starts(with: Self.magic), bytes.count >= 10 else {
                throw FormatError(.damaged, "the object 'config' is not a Becalm repository's config")
            }
            // Magic, version and the checksum behind all stay where they are in every later form, so that a flipped
            // version is damage and not a newer becalm's work.
            let body = try Checksummed.verified(bytes, "the repository's config")
            var reader = ByteReader(body)
            _ = try reader.readRaw(Self.magic.count)
            let version = try reader.read(UInt16.self)
            guard version <= Self.currentVersion else {
                throw FormatError(
                    .newerVersion,
                    "the repository has format \(version), this becalm reads up to \(Self.currentVersion): install a newer becalm"
                )
            }
            var config = RepositoryConfig(
                repositoryID: try Identifier.read(&reader),
                created: Timestamp(nanoseconds: Int64(bitPattern: try reader.read(UInt64.self))))
            config.version = version
            config.chunkMinimum = try reader.read(UInt32.self)
            config.chunkAverage = try reader.read(UInt32.self)
            config.chunkMaximum = try reader.read(UInt32.self)
            config.identityAlgorithm = try reader.readByte()
            config.graceSeconds = try reader.read(UInt64.self)
            try reader.expectEnd()
            guard config.identityAlgorithm == 1, version >= 1 else {
                throw FormatError(
                    .newerVersion,
                    "the repository names its chunks by algorithm \(config.identityAlgorithm), which this becalm does not know: install a newer becalm"
                )
            }
            guard config.chunkMinimum >= 4096, config.chunkMinimum < config.chunkAverage,
                config.chunkAverage < config.chunkMaximum, config.chunkMaximum <= 64 << 20
            else { throw FormatError(.damaged, "the repository's config is damaged: impossible chunk sizes") }
            return config
        }
    }
}

/// Bytes with their SHA-256 behind them: tells damage from a wrong key in objects that are not sealed.
enum Checksummed {
    static func appended(to bytes: [UInt8]) -> [UInt8] { bytes + SHA256State.digest(of: bytes).bytes }

    static func verified(_ bytes: [UInt8], _ name: String) throws(FormatError) -> [UInt8] {
        guard bytes.count >= Digest.size else { throw FormatError(.damaged, "\(name) is damaged: cut short") }
        let body = Array(bytes.dropLast(Digest.size))
        guard SHA256State.digest(of: body).bytes == Array(bytes.suffix(Digest.size)) else {
            throw FormatError(.damaged, "\(name) is damaged: its checksum does not match")
        }
        return body
    }
}
