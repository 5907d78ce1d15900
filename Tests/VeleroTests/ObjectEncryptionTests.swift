import Basics
import HTTPTransport
import Sealing
import Testing

@testable import Velero

@Suite("Encrypted objects")
struct ObjectEncryptionTests {
    private static func key(_ seed: UInt8) throws -> ObjectEncryptionKey {
        try ObjectEncryptionKey((0..<32).map { $0 &* 7 &+ seed }, source: "test")
    }

    private static func seal(_ key: ObjectEncryptionKey, _ name: String, _ text: [UInt8], step: Int = 16 << 10) throws
        -> [UInt8]
    {
        var sealer = try ObjectSealer(key: key, name: name)
        var sealed: [UInt8] = []
        for start in stride(from: 0, to: text.count, by: step) {
            sealed += try sealer.append(Array(text[start..<min(start + step, text.count)]))
        }
        return try sealed + sealer.finish()
    }

    private static func open(
        _ keys: ObjectKeyring?, _ name: String, _ sealed: [UInt8], step: Int = 10_000
    ) throws(SealedObjectError) -> [UInt8] {
        var opener = try ObjectOpener(SealedObjectHeader(parsing: sealed), keys: keys, name: name)
        var text: [UInt8] = []
        for start in stride(from: SealedObjectHeader.size, to: sealed.count, by: step) {
            text += try opener.append(Array(sealed[start..<min(start + step, sealed.count)]))
        }
        return try text + opener.finish()
    }

    private static let segment = 64 << 10
    private static let sealedSegment = segment + 16

    @Test(
        "What is sealed opens, whatever its length and however it comes",
        arguments: [0, 1, segment - 1, segment, segment + 1, 2 * segment, 3 * segment + 5], [1000, 16 << 10, 1 << 20])
    func roundTrip(count: Int, step: Int) throws {
        let key = try Self.key(1)
        let text = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 13 >> 3) }
        let sealed = try Self.seal(key, "backups/b/x", text, step: step)
        let segments = max(1, (count + Self.segment - 1) / Self.segment)
        #expect(sealed.count == SealedObjectHeader.size + count + segments * 16)
        #expect(try Self.open(ObjectKeyring(key), "backups/b/x", sealed, step: step) == text)
    }

    @Test("The format is the specification's, byte for byte")
    func golden() throws {
        let key = try ObjectEncryptionKey(Array("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n".utf8), source: "test")
        #expect(key.id == Self.goldenID)
        let sealed = try #require(Hex.decode(Self.goldenObject))
        #expect(try Self.open(ObjectKeyring(key), "backups/b/velero-backup.json", sealed) == Array("{}".utf8))
    }

    /// Made by a program of thirty lines of Python on the package `cryptography`, from the specification alone.
    private static let goldenID = "c50b9f1f37058e9c3d9e14586e441f46"
    private static let goldenObject =
        "626563616c6d2e696f2f6f626a65637401100000c50b9f1f37058e9c3d9e14586e441f46000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0b07e6e2b9ac5a27e831df5e469e17a551a9"

    @Test("Two seals of the same bytes have nothing in common but the header's first part")
    func salted() throws {
        let key = try Self.key(1)
        let text = [UInt8](repeating: 0, count: 1000)
        let (one, two) = (try Self.seal(key, "x", text), try Self.seal(key, "x", text))
        #expect(one.prefix(36) == two.prefix(36))
        #expect(zip(one.dropFirst(36), two.dropFirst(36)).count { $0 == $1 } < 40)
    }

    @Test("A changed byte anywhere is found")
    func changed() throws {
        let key = try Self.key(1)
        let sealed = try Self.seal(key, "x", [UInt8](repeating: 5, count: Self.segment + 100))
        for position in [16, 17, 18, 20, 40, 67, 68, 1000, 68 + Self.sealedSegment - 1, sealed.count - 1] {
            var other = sealed
            other[position] ^= 1
            let error = #expect(throws: SealedObjectError.self) { try Self.open(ObjectKeyring(key), "x", other) }
            let expected: SealedObjectError.Code =
                position == 16 ? .unsupportedVersion : position == 20 ? .unknownKey : .corrupted
            #expect(error?.code == expected, "byte \(position)")
        }
    }

    @Test("Cut short anywhere, longer, in another order, or with a segment of another object: found")
    func rearranged() throws {
        let key = try Self.key(1)
        let keys = ObjectKeyring(key)
        let text = (0..<3 * Self.segment).map { UInt8(truncatingIfNeeded: $0 >> 8) }
        let sealed = try Self.seal(key, "x", text)
        let header = SealedObjectHeader.size
        func piece(_ number: Int) -> ArraySlice<UInt8> {
            sealed[(header + number * Self.sealedSegment)..<(header + (number + 1) * Self.sealedSegment)]
        }
        let head = sealed[..<header]
        let cases: [[UInt8]] = [
            Array(head), Array(head + piece(0)), Array(head + piece(0) + piece(1)), Array(sealed.dropLast()),
            Array(sealed.dropLast(Self.sealedSegment - 10)), sealed + [0], sealed + piece(2),
            Array(head + piece(1) + piece(0) + piece(2)), Array(head + piece(2)), Array(head + piece(0) + piece(2)),
        ]
        for (number, other) in cases.enumerated() {
            let error = #expect(throws: SealedObjectError.self, "case \(number)") { try Self.open(keys, "x", other) }
            #expect(error?.code == .corrupted, "case \(number)")
        }
        let foreign = try Self.seal(key, "x", text)
        let mixed = Array(head + piece(0)) + foreign[(header + Self.sealedSegment)...]
        #expect(throws: SealedObjectError.self) { try Self.open(keys, "x", mixed) }
        #expect(throws: SealedObjectError.self, "another object's name") { try Self.open(keys, "y", sealed) }
    }

    @Test("A key that is missing is named by its id, and an older one is used where it is known")
    func keys() throws {
        let (old, new) = (try Self.key(1), try Self.key(2))
        let sealed = try Self.seal(old, "x", [1, 2, 3])
        #expect(try Self.open(ObjectKeyring(new, previous: [old]), "x", sealed) == [1, 2, 3])
        for keys in [nil, ObjectKeyring(new)] {
            let error = #expect(throws: SealedObjectError.self) { try Self.open(keys, "x", sealed) }
            #expect(error?.code == .unknownKey && error?.message.contains(old.id) == true)
        }
        #expect(old.id != new.id && old.id.count == 32)
    }

    @Test("A key is 32 random bytes or more, with or without a line's end")
    func keyContent() throws {
        let text = Array("q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=".utf8)
        let plain = try ObjectEncryptionKey(text, source: "s")
        #expect(try ObjectEncryptionKey(text + [0x0a], source: "s").id == plain.id)
        #expect(try ObjectEncryptionKey(text + [0x0d, 0x0a], source: "s").id == plain.id)
        let raw = (0..<31).map { UInt8($0 + 100) } + [0x0a]
        #expect(throws: Never.self) { try ObjectEncryptionKey(raw, source: "s") }
        let weak: [[UInt8]] = [
            [], [UInt8](repeating: 0, count: 32), Array("too short".utf8), Array(raw.dropLast()),
            Array("correct horse battery staple is what the comic says".utf8),
            Array("aaaaaaaabbbbbbbbccccccccdddddddd".utf8),
        ]
        for content in weak {
            let error = #expect(throws: SealedObjectError.self) { try ObjectEncryptionKey(content, source: "the file") }
            #expect(error?.code == .weakKey && error?.message.contains("openssl rand -base64 32") == true)
        }
    }

    @Test("Keys show nothing of themselves but their id")
    func descriptions() throws {
        let content = Array("q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=".utf8)
        let key = try ObjectEncryptionKey(content, source: "s")
        var dumped = ""
        dump(ObjectKeyring(key), to: &dumped)
        #expect(!dumped.contains("q83v") && !"\(key)".contains("q83v"))
    }
}

/// Secrets as a test says they are.
struct FixedSecrets: SecretSource {
    let entries: [String: [UInt8]]

    func value(ofSecret name: String, key: String) async throws(VeleroError) -> [UInt8] {
        guard let value = entries["\(name)/\(key)"] else {
            throw VeleroError(.notFound, "the Secret velero/\(name) does not exist")
        }
        return value
    }
}

@Suite(
    "A location that encrypts", .enabled(if: S3Fixture.isAvailable, "needs moto_server on the PATH"),
    .timeLimit(.minutes(10)))
struct EncryptingLocationTests {
    private static let secrets = FixedSecrets(entries: [
        "becalm/key": Array("q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=\n".utf8),
        "becalm/new": Array("Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFiY2RlZmdoaWo=".utf8), "becalm/short": Array("abc".utf8),
    ])
    /// Stands in everything that Velero stores here.
    private static let mark = "SECRET-DATA-OF-A-PERSON"

    private func text(_ count: Int) -> [UInt8] {
        let words = Array("\(Self.mark) {\"kind\":\"Secret\",\"data\":{\"password\":\"aHVudGVyMg==\"}}\n".utf8)
        return (0..<count).map { words[$0 % words.count] }
    }

    @Test("Nothing of what Velero stores can be read in the bucket, and all of it comes back")
    func unreadable() async throws {
        let fixture = try await S3Fixture.shared.value
        let plugin = try await fixture.open(
            ["prefix": "sealed", "encryptionKeySecret": "becalm/key"], secrets: Self.secrets)
        let objects = [
            "sealed/backups/b/velero-backup.json": text(2000), "sealed/backups/b/b.tar.gz": text(20 << 20),
            "sealed/backups/b/b-logs.gz": [],
        ]
        for (key, bytes) in objects { try await plugin.put(fixture.bucket, key, bytes) }
        for (key, bytes) in objects {
            let raw = try await fixture.raw(key)
            #expect(raw.starts(with: Array("becalm.io/object".utf8)) && raw.count > bytes.count)
            // Words so long that they do not turn up by chance.
            #expect(raw.firstRange(of: Self.mark.utf8) == nil && raw.firstRange(of: "\"kind\":\"Secret\"".utf8) == nil)
            // Ciphertext looks random: every value turns up about as often as any other.
            if bytes.count > 1 << 20 {
                var counts = [Int](repeating: 0, count: 256)
                for byte in raw { counts[Int(byte)] += 1 }
                #expect(counts.allSatisfy { abs($0 - raw.count / 256) < raw.count / 2560 })
            }
            #expect(try await plugin.get(fixture.bucket, key) == bytes)
        }
        #expect(try await plugin.keys(bucket: fixture.bucket, prefix: "sealed/backups/").count == 3)
    }

    @Test("Without the key or with another one, the message names the key that is needed")
    func wrongKey() async throws {
        let fixture = try await S3Fixture.shared.value
        let plugin = try await fixture.open(["encryptionKeySecret": "becalm/key"], secrets: Self.secrets)
        try await plugin.put(fixture.bucket, "wrong/x", text(100))
        let id = try ObjectEncryptionKey(Self.secrets.entries["becalm/key"] ?? [], source: "").id
        for config in [[:], ["encryptionKeySecret": "becalm/new"]] {
            let other = try await fixture.open(config, secrets: Self.secrets)
            let error = await veleroError { _ = try await other.get(fixture.bucket, "wrong/x") }
            #expect(error?.code == .accessDenied)
            #expect(error?.message.contains(id) == true && error?.message.contains("wrong/x in s3://velero") == true)
        }
        let rotated = try await fixture.open(
            ["encryptionKeySecret": "becalm/new", "previousEncryptionKeySecrets": "becalm/key"], secrets: Self.secrets)
        #expect(try await rotated.get(fixture.bucket, "wrong/x") == text(100))
    }

    @Test("A plain object in an encrypting location is refused, unless it is allowed")
    func downgrade() async throws {
        let fixture = try await S3Fixture.shared.value
        try await fixture.open().put(fixture.bucket, "plain/x", text(100))
        let strict = try await fixture.open(["encryptionKeySecret": "becalm/key"], secrets: Self.secrets)
        let error = await veleroError { _ = try await strict.get(fixture.bucket, "plain/x") }
        #expect(error?.code == .accessDenied && error?.message.contains("allowUnencryptedReads") == true)
        let lenient = try await fixture.open(
            ["encryptionKeySecret": "becalm/key", "allowUnencryptedReads": "true"], secrets: Self.secrets)
        #expect(try await lenient.get(fixture.bucket, "plain/x") == text(100))
    }

    @Test("An object put under another's name is refused, one that moved with its location is not")
    func swapped() async throws {
        let fixture = try await S3Fixture.shared.value
        let plugin = try await fixture.open(
            ["prefix": "one", "encryptionKeySecret": "becalm/key"], secrets: Self.secrets)
        try await plugin.put(fixture.bucket, "one/backups/a/a.json", text(100))
        let raw = try await fixture.raw("one/backups/a/a.json")
        try await fixture.send(.put, "/\(fixture.bucket)/one/backups/b/b.json", body: raw)
        try await fixture.send(.put, "/\(fixture.bucket)/two/backups/a/a.json", body: raw)
        let error = await veleroError { _ = try await plugin.get(fixture.bucket, "one/backups/b/b.json") }
        #expect(error?.message.contains("stored under another name") == true)
        let moved = try await fixture.open(
            ["prefix": "two/", "encryptionKeySecret": "becalm/key"], secrets: Self.secrets)
        #expect(try await moved.get(fixture.bucket, "two/backups/a/a.json") == text(100))
    }

    @Test("A key that is missing or none is told when the location is opened")
    func badKeys() async throws {
        let fixture = try await S3Fixture.shared.value
        for (config, says) in [
            (["encryptionKeySecret": "becalm/short"], "openssl rand"),
            (["encryptionKeySecret": "none/key"], "the encryption key: the Secret velero/none does not exist"),
            (["encryptionKeyFile": "/none/key"], "the encryption key: the file /none/key does not exist"),
            (["customerKeyEncryptionSecret": "becalm/short"], "has 3 bytes; it must have 32"),
        ] {
            let error = await veleroError { _ = try await fixture.open(config, secrets: Self.secrets) }
            #expect(error?.message.contains(says) == true, "\(error?.message ?? "")")
        }
    }
}

@Suite("Archives that were cut short")
struct ArchiveUploadTests {
    /// Keeps what it is given.
    private actor Sink: ObjectUpload {
        var bytes: [UInt8] = []
        var isFinished = false
        var isAbandoned = false
        func write(_ bytes: [UInt8]) async throws(VeleroError) { self.bytes += bytes }
        func finish() async throws(VeleroError) { isFinished = true }
        func abandon() async { isAbandoned = true }
    }

    @Test(
        "An archive whose length is no tar archive's is refused",
        arguments: [
            ([0x1f, 0x8b, 9, 9, 9, 0, 0x28, 0, 0], true), ([0x1f, 0x8b, 9, 9, 9, 1, 0x28, 0, 0], false),
            ([0x1f, 0x8b, 9, 9, 9, 0, 0x29, 0, 0], false), ([0x1f, 0x8b], false), ([1, 2, 3, 1, 1, 1, 1], true),
        ] as [([UInt8], Bool)])
    func ends(bytes: [UInt8], isWhole: Bool) async throws {
        let sink = Sink()
        let upload = ArchiveUpload(sink, label: "b.tar.gz in s3://x")
        for byte in bytes { try await upload.write([byte]) }
        let error = await veleroError { try await upload.finish() }
        #expect((error == nil) == isWhole)
        let (isFinished, isAbandoned) = (await sink.isFinished, await sink.isAbandoned)
        #expect(isFinished == isWhole && isAbandoned == !isWhole)
        #expect(error?.message.contains("\n") != true)
    }
}
