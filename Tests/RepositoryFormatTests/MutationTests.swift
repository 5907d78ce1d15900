import Basics
import ObjectStorageTesting
import Sealing
import Testing

@testable import RepositoryFormat

/// Every reader is given changed bytes: it may refuse them as damaged, or read something else, but never crash or take
/// memory that the bytes do not justify.
@Suite struct MutationTests {
    /// A structure's bytes and its reader.
    struct Target: Sendable, CustomTestStringConvertible {
        var name: String
        var make: @Sendable (inout Samples) throws -> [UInt8]
        var read: @Sendable ([UInt8], Samples) throws -> Void
        var testDescription: String { name }
    }

    /// Readers of bytes that are under no seal, and of what is inside the seals.
    static let targets: [Target] = [
        Target(
            name: "directory page", make: { DirectoryPage.encode(try $0.entries()) },
            read: { bytes, _ in _ = try DirectoryPage.decode(bytes) }),
        Target(
            name: "content list", make: { ContentList.encode(try $0.items(30)) },
            read: { bytes, _ in _ = try ContentList.decode(bytes) }),
        Target(
            name: "blob header",
            make: {
                BlobHeader(
                    codec: .zstd, isGroup: true, sealedLength: 500, rawLength: 1000, nonce: 5, id: try $0.chunk()
                ).encoded()
            }, read: { bytes, _ in _ = try bytes.withUnsafeBytes { try BlobHeader(decoding: $0) } }),
        Target(
            name: "blob group",
            make: { samples in
                BlobGroup.directory(of: try (0..<9).map { .init(id: try samples.chunk(), length: UInt32($0)) })
                    + samples.generator.bytes(36)
            },
            read: { bytes, _ in
                try bytes.withUnsafeBytes { raw in
                    for (_, range) in try BlobGroup(decoding: raw).ranges { #expect(range.upperBound <= raw.count) }
                }
            }),
        Target(
            name: "pack header",
            make: { PackHeader(id: $0.id, kind: .data, session: $0.session).encoded() },
            read: { bytes, samples in
                _ = try PackHeader(decoding: bytes).session.openKey(keyring: samples.keyring)
            }),
        Target(
            name: "pack trailer",
            make: { Array(try PackFooter.encode(try $0.blobs(), pack: $0.id, keyring: $0.keyring).suffix(16)) },
            read: { bytes, _ in _ = try PackFooter.size(trailer: bytes) }),
        Target(
            name: "config",
            make: { RepositoryConfig(repositoryID: $0.id, created: Timestamp(seconds: 1)).encoded() },
            read: { bytes, _ in
                _ = try RepositoryConfig(decoding: bytes)
            }),
        Target(
            name: "config with a right checksum",
            make: {
                Array(RepositoryConfig(repositoryID: $0.id, created: Timestamp(seconds: 1)).encoded().dropLast(32))
            },
            read: { bytes, _ in _ = try RepositoryConfig(decoding: Checksummed.appended(to: bytes)) }),
        Target(
            name: "key table with a right checksum",
            make: { samples in
                let slot = try KeySlot.create(
                    .keyFile(Array(repeating: 7, count: 32)), role: .full, label: "a", created: Timestamp(seconds: 5))
                return Array(
                    try KeyTable.create(generation: 1, slots: [slot], keyring: samples.keyring).encoded().dropLast(32))
            },
            read: { bytes, _ in
                _ = try KeyTable(decoding: Checksummed.appended(to: bytes)).open(
                    .keyFile(Array(repeating: 7, count: 32)))
            }),
        Target(
            name: "keyring", make: { $0.keyring.encoded() },
            read: { bytes, _ in _ = try Keyring(decoding: bytes) }),
        Target(
            name: "manifest", make: { try $0.manifest().encoded() },
            read: { bytes, _ in _ = try SnapshotManifest(decoding: bytes).rootPages() }),
        Target(
            name: "snapshot object",
            make: {
                try SnapshotObject.encode(
                    id: $0.id, chain: try $0.chain(true), manifest: try $0.manifest(), session: $0.session,
                    sessionKey: $0.sessionKey, keyring: $0.keyring)
            },
            read: { bytes, samples in
                _ = try SnapshotObject(id: samples.id, decoding: bytes, keyring: samples.keyring).manifest(
                    keyring: samples.keyring)
            }),
        Target(
            name: "snapshot chain", make: { try $0.chain(true).encoded() },
            read: { bytes, _ in _ = try SnapshotChain(decoding: bytes) }),
        Target(
            name: "index segment",
            make: { samples in
                IndexSegmentLayout.encode(
                    packs: try samples.indexed(5), entries: try samples.indexEntries(40, packs: 5)
                ).array()
            },
            read: { bytes, _ in
                try bytes.withUnsafeBytes { raw in
                    let layout = try IndexSegmentLayout(plain: raw)
                    for row in 0..<layout.packCount { _ = try layout.pack(row, in: raw) }
                }
            }),
        sealed("condemned record", "condemned v1", { try $0.condemned().encoded(id: $0.id, keyring: $0.keyring) }) {
            _ = try CondemnedRecord(decoding: $0, id: $1.id, keyring: $1.keyring)
        },
        sealed("forgotten record", "forgotten v1", { try $0.forgotten().encoded(id: $0.id, keyring: $0.keyring) }) {
            _ = try ForgottenRecord(decoding: $0, id: $1.id, keyring: $1.keyring)
        },
        sealed(
            "journal", "journal v1", { try $0.journal().encoded(name: $0.id.description, keyring: $0.keyring) }
        ) {
            _ = try JournalRecord(decoding: $0, name: $1.id.description, keyring: $1.keyring)
        },
        Target(
            name: "collector claim",
            make: {
                try MetaBox.open(
                    CollectorClaim(id: $0.id, host: "host", machine: "machine", processID: 1).encoded(
                        keyring: $0.keyring), label: "collector claim v1", name: ObjectNames.collectorClaim,
                    keyring: $0.keyring)
            },
            read: { bytes, samples in
                _ = try CollectorClaim(
                    decoding: MetaBox.seal(
                        bytes, label: "collector claim v1", name: ObjectNames.collectorClaim, keyring: samples.keyring),
                    keyring: samples.keyring)
            }),
        Target(
            name: "pack footer",
            make: {
                let footer = try PackFooter.encode(try $0.blobs(), pack: $0.id, keyring: $0.keyring)
                return try MetaBox.open(
                    Array(footer.dropLast(16)), label: "pack footer v1", name: $0.id.description, keyring: $0.keyring)
            },
            read: { bytes, samples in
                let box = try MetaBox.seal(
                    bytes, label: "pack footer v1", name: samples.id.description, keyring: samples.keyring)
                _ = try PackFooter.decode(
                    box + [UInt8](repeating: 0, count: 16), pack: samples.id, keyring: samples.keyring)
            }),
        Target(
            name: "meta box",
            make: { try MetaBox.seal([1, 2, 3], label: "l", name: "n", keyring: $0.keyring) },
            read: { bytes, samples in
                _ = try MetaBox.open(bytes, label: "l", name: "n", keyring: samples.keyring)
            }),
    ]

    /// A record whose plain bytes are changed, and sealed anew so that its reader sees them.
    private static func sealed(
        _ name: String, _ label: String, _ make: @escaping @Sendable (inout Samples) throws -> [UInt8],
        _ read: @escaping @Sendable ([UInt8], Samples) throws -> Void
    ) -> Target {
        Target(
            name: name,
            make: {
                try MetaBox.open(try make(&$0), label: label, name: $0.id.description, keyring: $0.keyring)
            },
            read: { bytes, samples in
                try read(
                    MetaBox.seal(bytes, label: label, name: samples.id.description, keyring: samples.keyring), samples)
            })
    }

    @Test(.timeLimit(.minutes(15)), arguments: targets) func noChangeCrashesAReader(target: Target) throws {
        var samples = try Samples(seed: UInt64.random(in: 0...UInt64.max))
        let seed = samples.generator.seed
        let valid = try target.make(&samples)
        try target.read(valid, samples)
        var refused = 0
        for round in 0..<1500 {
            var bytes = valid
            for _ in 0...Int(samples.generator.next() % 3) { Self.mutate(&bytes, &samples.generator) }
            do {
                try target.read(bytes, samples)
            } catch {
                #expect(error is FormatError, "\(target.name), seed \(seed), round \(round): \(error)")
                refused += 1
            }
        }
        // Else the changes would reach nothing.
        #expect(refused > 100, "\(target.name), seed \(seed)")
    }

    @Test(arguments: targets) func everyPrefixIsRefusedOrRead(target: Target) throws {
        var samples = try Samples(seed: 1)
        let valid = try target.make(&samples)
        for count in stride(from: 0, to: valid.count, by: max(1, valid.count / 400)) {
            do {
                try target.read(Array(valid.prefix(count)), samples)
            } catch {
                #expect(error is FormatError, "\(target.name), \(count) of \(valid.count) bytes: \(error)")
            }
        }
    }

    private static func mutate(_ bytes: inout [UInt8], _ generator: inout SeededGenerator) {
        guard !bytes.isEmpty else { return bytes = generator.bytes(Int(generator.next() % 20)) }
        let place = Int(generator.next() % UInt64(bytes.count))
        let length = min(Int(generator.next() % 12) + 1, bytes.count - place)
        switch generator.next() % 8 {
        case 0: bytes[place] ^= 1 << UInt8(generator.next() % 8)
        case 1: bytes[place] = UInt8(truncatingIfNeeded: generator.next())
        case 2: bytes.replaceSubrange(place..<place + length, with: [UInt8](repeating: 0xff, count: length))
        case 3: bytes.replaceSubrange(place..<place + length, with: [UInt8](repeating: 0, count: length))
        case 4: bytes.removeSubrange(place..<place + length)
        case 5: bytes.insert(contentsOf: generator.bytes(length), at: place)
        case 6: bytes.removeLast(length)
        default: bytes += bytes[place..<place + length]
        }
    }
}
