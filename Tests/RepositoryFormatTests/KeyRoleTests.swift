import Basics
import ObjectStorageTesting
import Sealing
import Testing

@testable import RepositoryFormat

/// What each role is given, and what it may do with it.
@Suite("Key roles") struct KeyRoleTests {
    /// Secrets by name, as they would stand in a keyring.
    private static func secrets(of full: Keyring) throws -> [String: [UInt8]] {
        var secrets = [
            "data-id key": full.dataIDKey.array, "tree-id key": full.treeIDKey.array,
            "chunker key": try #require(full.chunkerKey).array, "table key": try #require(full.tableKey).array,
        ]
        for epoch in full.epochs {
            secrets["meta key \(epoch.number)"] = epoch.metaKey.array
            secrets["session secret \(epoch.number)"] = epoch.sessionSecret.array
            secrets["private key \(epoch.number)"] = try #require(epoch.privateKey).secret.array
        }
        return secrets
    }

    private static func contains(_ bytes: [UInt8], _ secret: [UInt8]) -> Bool {
        bytes.indices.contains { bytes[$0...].starts(with: secret) }
    }

    /// What of the secrets each role lacks.
    private static let lacking: [(KeyRole, Set<String>)] = [
        (.full, []), (.writer, ["table key", "private key 1", "private key 2"]),
        (.reader, ["table key", "chunker key"]),
    ]

    @Test("A role's keyring holds the secrets that its work takes, and no others", arguments: lacking)
    func secrets(role: KeyRole, withheld: Set<String>) throws {
        let full = try Samples(seed: 1).keyring
        let secrets = try Self.secrets(of: full)
        let encoded = full.restricted(to: role).encoded()
        #expect(Set(secrets.keys.filter { !Self.contains(encoded, secrets[$0] ?? []) }) == withheld)
        // What is stored comes back as it was, with nothing in the place of what is not there.
        let read = try Keyring(decoding: encoded)
        #expect(read.role == role && read.encoded() == encoded)
        #expect((read.tableKey == nil) == withheld.contains("table key"))
        #expect((read.chunkerKey == nil) == withheld.contains("chunker key"))
        #expect(read.epochs.map { $0.privateKey == nil } == [1, 2].map { withheld.contains("private key \($0)") })
        #expect(
            read.chunkIdentifier.id(of: SHA256State.digest(of: [1]), kind: .tree)
                == full.chunkIdentifier.id(of: SHA256State.digest(of: [1]), kind: .tree))
    }

    @Test("A slot of a table opens with its role's secrets, after a rotation too")
    func slots() throws {
        let keyring = try Samples(seed: 2).keyring
        let secrets = try Self.secrets(of: keyring)
        let credential = KeyCredential.keyFile([UInt8](repeating: 7, count: 40))
        let identity = try X25519PrivateKey.generate()
        let slots = [
            try KeySlot.create(
                .keyFile([UInt8](repeating: 5, count: 40)), role: .full, label: "a", created: Timestamp(seconds: 1)),
            try KeySlot.create(credential, role: .reader, label: "b", created: Timestamp(seconds: 2)),
            try KeySlot.create(
                recipient: identity.publicKey, role: .reader, label: "c", created: Timestamp(seconds: 3)),
        ]
        let rotated = try keyring.rotated()
        let table = try KeyTable(
            decoding: KeyTable.create(generation: 3, slots: slots, keyring: rotated).encoded())
        for way in [credential, .identity(identity)] {
            let (opened, slot) = try table.open(way)
            #expect(slot.role == .reader && opened.role == .reader)
            #expect(opened.epochs.map(\.number) == [1, 2, 3] && opened.epochs.allSatisfy { $0.privateKey != nil })
            for name in ["table key", "chunker key"] {
                #expect(!Self.contains(opened.encoded(), secrets[name] ?? []), "\(name)")
            }
        }
    }

    @Test("A reader opens what others have sealed, and seals nothing")
    func sealing() throws {
        var samples = try Samples(seed: 3)
        let reader = samples.keyring.restricted(to: .reader)
        #expect(try samples.session.openKey(keyring: reader).array == samples.sessionKey.array)
        let manifest = try samples.manifest()
        let chain = try samples.chain(true)
        let bytes = try SnapshotObject.encode(
            id: samples.id, chain: chain, manifest: manifest, session: samples.session, sessionKey: samples.sessionKey,
            keyring: samples.keyring)
        let seen = try SnapshotObject(id: samples.id, decoding: bytes, keyring: reader)
        #expect(seen.chain == chain)
        #expect(try seen.manifest(keyring: reader) == manifest)
        let blobs = try samples.blobs()
        let footer = try PackFooter.encode(blobs, pack: samples.id, keyring: samples.keyring)
        #expect(!footer.isEmpty)
        let record = CondemnedRecord(packs: [.init(id: samples.id, kind: .data, tag: "t")])
        let sealed = try record.encoded(id: samples.id, keyring: samples.keyring)
        #expect(try CondemnedRecord(decoding: sealed, id: samples.id, keyring: reader).packs.map(\.id) == [samples.id])

        let (id, session, key) = (samples.id, samples.session, samples.sessionKey)
        let forbidden: [(String, () throws -> Void)] = [
            ("a session", { _ = try SessionHeader.create(keyring: reader) }),
            ("a meta box", { _ = try MetaBox.seal([1], label: "l", name: "n", keyring: reader) }),
            ("a footer", { _ = try PackFooter.encode(blobs, pack: id, keyring: reader) }),
            ("a condemned record", { _ = try record.encoded(id: id, keyring: reader) }),
            ("a forgotten record", { _ = try ForgottenRecord(snapshots: []).encoded(id: id, keyring: reader) }),
            (
                "a segment",
                {
                    _ = try IndexSegmentLayout.seal(
                        IndexSegmentLayout.encode(packs: [], entries: []), id: id, keyring: reader)
                }
            ),
            (
                "a snapshot",
                {
                    _ = try SnapshotObject.encode(
                        id: id, chain: chain, manifest: manifest, session: session, sessionKey: key, keyring: reader)
                }
            ),
            ("a cut", { _ = try reader.chunkerMaterial() }),
        ]
        for (what, body) in forbidden {
            let error = #expect(throws: FormatError.self, "\(what)") { try body() }
            #expect(error?.code == .notPermitted, "\(what)")
            #expect(
                error?.message.contains("use a key of the role 'writer' or 'full'") == true, "\(error?.message ?? "")")
        }
        let error = #expect(throws: FormatError.self) {
            _ = try KeyTable.create(generation: 2, slots: [], keyring: reader)
        }
        #expect(
            error?.code == .notPermitted
                && error?.message == "a reader key cannot change keys: use a key of the role 'full'")
    }

    /// A table's bytes after `change`, with a checksum that fits.
    private static func changed(_ table: KeyTable, _ change: (inout [UInt8]) -> Void) -> [UInt8] {
        var bytes = Array(table.encoded().dropLast(Digest.size))
        change(&bytes)
        return bytes + SHA256State.digest(of: bytes).bytes
    }

    /// Where a table's version stands, behind the magic; its low byte.
    private static let versionOffset = 8

    @Test("Only a table with a slot that older versions do not know has the version that they refuse by name")
    func versions() throws {
        let keyring = try Samples(seed: 4).keyring
        let made = { (roles: [KeyRole]) in
            let slots = try roles.map { role in
                try KeySlot.create(
                    recipient: X25519PrivateKey.generate().publicKey, role: role, label: "",
                    created: Timestamp(seconds: 1))
            }
            return try KeyTable.create(generation: 1, slots: slots, keyring: keyring)
        }
        for (roles, version) in [([.full, .writer], 1), ([.full, .reader, .writer], 2)] as [([KeyRole], UInt8)] {
            let table = try made(roles)
            #expect(table.encoded()[Self.versionOffset] == version && table.encoded()[Self.versionOffset + 1] == 0)
            #expect(try KeyTable(decoding: table.encoded()).slots.map(\.role) == roles)
            // The other version does not fit these slots; a later one is nobody's damage.
            for (other, code) in [(3 - version, FormatError.Code.damaged), (3, .newerVersion)] {
                let error = #expect(throws: FormatError.self) {
                    _ = try KeyTable(decoding: Self.changed(table) { $0[Self.versionOffset] = other })
                }
                #expect(error?.code == code, "\(roles) as \(other): \(error?.message ?? "")")
            }
        }
    }

    @Test("A slot that a password or key file opens is tied to the table key; one of a recipient cannot be")
    func anchors() throws {
        let keyring = try Samples(seed: 6).keyring
        let credential = KeyCredential.keyFile([UInt8](repeating: 7, count: 40))
        let identity = try X25519PrivateKey.generate()
        let slots = [
            try KeySlot.create(credential, role: .full, label: "a", created: Timestamp(seconds: 1)),
            try KeySlot.create(
                recipient: identity.publicKey, role: .full, label: "b", created: Timestamp(seconds: 2)),
        ]
        let table = try KeyTable.create(generation: 1, slots: slots, keyring: keyring)
        let read = try KeyTable(decoding: table.encoded())
        #expect(read.slots.map(\.isAnchored) == [true, false])
        #expect(table.encoded()[Self.versionOffset] == 2)
        // What is known of the slots is the same to whoever makes the next table, by the right hands or others.
        let next = try KeyTable.create(generation: 2, slots: read.slots, keyring: keyring)
        #expect(try next.open(credential).keyring.encoded() == keyring.encoded())
        var forged = keyring
        forged.tableKey = SecretKey()
        let theirs = try KeyTable.create(generation: 2, slots: read.slots, keyring: forged)
        let error = #expect(throws: FormatError.self) { _ = try theirs.open(credential) }
        #expect(
            error?.code == .damaged && error?.message.contains("made by somebody without a full key") == true,
            "\(error?.message ?? "")")
        // Format.md, "Threat model": nothing shows it to a recipient.
        #expect(try theirs.open(.identity(identity)).keyring.encoded() == forged.encoded())
    }

    @Test("A role that a later version has is refused by its number, and not as damage")
    func unknownRole() throws {
        let keyring = try Samples(seed: 5).keyring
        let slot = try KeySlot.create(
            recipient: X25519PrivateKey.generate().publicKey, role: .reader, label: "", created: Timestamp(seconds: 1))
        let table = try KeyTable.create(generation: 1, slots: [slot], keyring: keyring)
        let id = Array(slot.id.utf8)
        let bytes = Self.changed(table) { bytes in
            guard let start = bytes.indices.first(where: { bytes[$0...].starts(with: id) }) else { return }
            bytes[start + id.count] = 9
        }
        let error = #expect(throws: FormatError.self) { _ = try KeyTable(decoding: bytes) }
        #expect(error?.code == .newerVersion)
        #expect(
            error?.message
                == "key slot \(slot.id) has the role 9, which this becalm does not know: install a newer one")
    }

    @Test("A refusal names the roles that can, the least powerful first")
    func refusals() throws {
        #expect(
            KeyRole.writer.refusal(.read, to: "restore")
                == "a writer key cannot restore: use a key of the role 'reader' or 'full'")
        #expect(
            KeyRole.reader.refusal(.manage, to: "prune") == "a reader key cannot prune: use a key of the role 'full'")
        for ability in KeyRole.Ability.allCases {
            #expect(KeyRole.full.can(ability))
            try KeyRole.full.require(ability, to: "do it")
        }
        #expect(KeyRole.Ability.allCases.filter { KeyRole.reader.can($0) } == [.read])
        #expect(KeyRole.Ability.allCases.filter { KeyRole.writer.can($0) } == [.write])
    }
}
