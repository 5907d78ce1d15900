import Basics
import ObjectStorageTesting
import RepositoryFormat
import Sealing
import Testing

@Suite struct RoundTripTests {
    static let seeds = (0..<20).map { _ in UInt64.random(in: 0...UInt64.max) }

    @Test(arguments: seeds) func treesAndListsComeBack(seed: UInt64) throws {
        var samples = try Samples(seed: seed)
        let entries = try samples.entries()
        #expect(try DirectoryPage.decode(DirectoryPage.encode(entries)) == entries)
        let items = try samples.items(50)
        #expect(try ContentList.decode(ContentList.encode(items)) == items)
        #expect(try DirectoryPage.decode(DirectoryPage.encode([])) == [])
    }

    @Test(arguments: seeds) func recordsComeBackUnderTheirOwnNameOnly(seed: UInt64) throws {
        var samples = try Samples(seed: seed)
        let (keyring, id) = (samples.keyring, samples.id)
        let other = try samples.identifier()
        let condemned = try samples.condemned()
        let forgotten = try samples.forgotten()
        let journal = try samples.journal()
        let claim = CollectorClaim(id: other, host: "h", machine: "m", processID: 7)
        #expect(
            try CondemnedRecord(decoding: condemned.encoded(id: id, keyring: keyring), id: id, keyring: keyring)
                == condemned)
        #expect(
            try ForgottenRecord(decoding: forgotten.encoded(id: id, keyring: keyring), id: id, keyring: keyring)
                == forgotten)
        #expect(
            try JournalRecord(
                decoding: journal.encoded(name: "journal/a-b", keyring: keyring), name: "journal/a-b", keyring: keyring)
                == journal)
        #expect(try CollectorClaim(decoding: claim.encoded(keyring: keyring), keyring: keyring) == claim)
        #expect(throws: FormatError.self) {
            _ = try CondemnedRecord(decoding: condemned.encoded(id: id, keyring: keyring), id: other, keyring: keyring)
        }
        #expect(throws: FormatError.self) {
            _ = try ForgottenRecord(decoding: condemned.encoded(id: id, keyring: keyring), id: id, keyring: keyring)
        }
        let stranger = try Keyring.generate(repositoryID: keyring.repositoryID, configDigest: keyring.configDigest)
        #expect(throws: FormatError.self) {
            _ = try CondemnedRecord(decoding: condemned.encoded(id: id, keyring: stranger), id: id, keyring: keyring)
        }
    }

    @Test(arguments: seeds) func packHeadersBlobsAndFootersComeBack(seed: UInt64) throws {
        var samples = try Samples(seed: seed)
        let header = PackHeader(id: samples.id, kind: .tree, session: samples.session)
        #expect(header.encoded().count == PackHeader.size)
        #expect(try PackHeader(decoding: header.encoded()) == header)
        let blobs = try samples.blobs()
        let footer = try PackFooter.encode(blobs, pack: samples.id, keyring: samples.keyring)
        #expect(try PackFooter.size(trailer: Array(footer.suffix(PackFooter.trailerSize))) == footer.count)
        #expect(try PackFooter.decode(footer, pack: samples.id, keyring: samples.keyring) == blobs)
        let other = try samples.identifier()
        #expect(throws: FormatError.self) {
            _ = try PackFooter.decode(footer, pack: other, keyring: samples.keyring)
        }
        let blob = BlobHeader(
            codec: .zstd, isGroup: true, sealedLength: 500, rawLength: 1000, nonce: samples.number(.max),
            id: try samples.chunk())
        #expect(try blob.encoded().withUnsafeBytes { try BlobHeader(decoding: $0) } == blob)
        let members = try (0..<7).map { BlobGroup.Member(id: try samples.chunk(), length: UInt32($0 * 10)) }
        let group = BlobGroup.directory(of: members) + samples.generator.bytes(210)
        let read = try group.withUnsafeBytes { try BlobGroup(decoding: $0) }
        #expect(read.members == members)
        #expect(read.ranges.map(\.range.count) == [0, 10, 20, 30, 40, 50, 60])
        #expect(read.ranges.last?.range.upperBound == group.count)
    }

    @Test(arguments: seeds) func segmentsComeBackSorted(seed: UInt64) throws {
        var samples = try Samples(seed: seed)
        let packs = try samples.indexed(11)
        let entries = try samples.indexEntries(Int(samples.number(300)), packs: 11)
        let plain = IndexSegmentLayout.encode(packs: packs, entries: entries)
        let stored = try IndexSegmentLayout.seal(plain, id: samples.id, keyring: samples.keyring)
        let opened = try IndexSegmentLayout.open(stored, id: samples.id, keyring: samples.keyring)
        #expect(opened == plain.array())
        try opened.withUnsafeBytes { bytes in
            let layout = try IndexSegmentLayout(plain: bytes)
            #expect(layout.packCount == 11 && layout.entryCount == entries.count)
            #expect(try (0..<11).map { try layout.pack($0, in: bytes) } == packs)
            let base = try #require(bytes.baseAddress)
            let read = (0..<layout.entryCount).map { row in
                var entry = IndexEntry(at: base + layout.entriesOffset + row * IndexEntry.size)
                entry.base = layout.base(of: row, in: bytes)
                return entry
            }
            #expect(layout.baseCount == entries.count { $0.base != nil })
            #expect(Set(read) == Set(entries))
            #expect(zip(read, read.dropFirst()).allSatisfy { ($0.high, $0.low) <= ($1.high, $1.low) })
        }
    }

    @Test(arguments: seeds) func snapshotsComeBack(seed: UInt64) throws {
        var samples = try Samples(seed: seed)
        let manifest = try samples.manifest()
        for hasPredecessor in [true, false] {
            let chain = try samples.chain(hasPredecessor)
            let bytes = try SnapshotObject.encode(
                id: samples.id, chain: chain, manifest: manifest, session: samples.session,
                sessionKey: samples.sessionKey, keyring: samples.keyring)
            let object = try SnapshotObject(id: samples.id, decoding: bytes, keyring: samples.keyring)
            #expect(object.chain == chain)
            #expect(object.digest == SHA256State.digest(of: bytes))
            #expect(try object.manifest(keyring: samples.keyring) == manifest)
            // A writer reads the chain, and not the manifest.
            let writer = samples.keyring.restricted(to: .writer)
            let seen = try SnapshotObject(id: samples.id, decoding: bytes, keyring: writer)
            #expect(seen.chain == chain)
            let error = #expect(throws: FormatError.self) { _ = try seen.manifest(keyring: writer) }
            #expect(error?.code == .notPermitted)
        }
    }

    @Test(arguments: seeds.prefix(3)) func configAndKeysComeBack(seed: UInt64) throws {
        var samples = try Samples(seed: seed)
        var config = RepositoryConfig(repositoryID: samples.id, created: Timestamp(nanoseconds: -77))
        config.graceSeconds = samples.number(.max)
        #expect(try RepositoryConfig(decoding: config.encoded()) == config)
        let credential = KeyCredential.keyFile(samples.generator.bytes(32))
        let slots = [
            try KeySlot.create(credential, role: .full, label: "a", created: Timestamp(seconds: 5)),
            try KeySlot.create(
                .keyFile(samples.generator.bytes(50)), role: .writer, label: "ü", created: Timestamp(seconds: 6)),
        ]
        let table = try KeyTable.create(generation: 7, slots: slots, keyring: samples.keyring)
        let read = try KeyTable(decoding: table.encoded())
        #expect(read.encoded() == table.encoded())
        let (keyring, slot) = try read.open(credential)
        #expect(slot.label == "a" && keyring.role == .full && keyring.epochs.map(\.number) == [1, 2])
        #expect(
            keyring.chunkIdentifier.id(of: SHA256State.digest(of: [1]), kind: .data)
                == samples.keyring.chunkIdentifier.id(of: SHA256State.digest(of: [1]), kind: .data))
    }
}
