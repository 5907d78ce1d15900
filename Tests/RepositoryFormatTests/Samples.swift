import Basics
import ObjectStorageTesting
import RepositoryFormat
import Sealing

/// One of every stored structure, filled with varied values.
struct Samples {
    let keyring: Keyring
    let session: SessionHeader
    let sessionKey: SecretKey
    let id: Identifier
    var generator: SeededGenerator

    init(seed: UInt64) throws {
        generator = SeededGenerator(seed: seed)
        id = try Identifier.random()
        keyring = try Keyring.generate(
            repositoryID: try Identifier.random(), configDigest: SHA256State.digest(of: [1, 2, 3])
        ).rotated()
        (session, sessionKey) = try SessionHeader.create(keyring: keyring)
    }

    mutating func identifier() throws -> Identifier {
        guard let identifier = Identifier(bytes: generator.bytes(16)) else {
            throw FormatError(.damaged, "sixteen bytes make an identifier")
        }
        return identifier
    }

    mutating func digest() throws -> Digest {
        guard let digest = Digest(bytes: generator.bytes(32)) else {
            throw FormatError(.damaged, "thirty-two bytes make a digest")
        }
        return digest
    }

    mutating func chunk() throws -> ChunkID { ChunkID(try digest()) }

    mutating func number(_ limit: UInt64) -> UInt64 {
        // Often at the edges.
        switch generator.next() % 4 {
        case 0: 0
        case 1: limit
        default: UInt64.random(in: 0...limit, using: &generator)
        }
    }

    mutating func items(_ count: Int) throws -> [ContentItem] {
        try (0..<count).map { _ in
            generator.next() % 3 == 0
                ? .hole(number(.max)) : .chunk(try chunk(), length: UInt32(number(UInt64(BlobHeader.maximumRawLength))))
        }
    }

    mutating func metadata(_ type: FileType) -> FileMetadata {
        var metadata = FileMetadata(type: type, permissions: UInt16(number(0o7777)))
        metadata.userID = UInt32(number(UInt64(UInt32.max)))
        metadata.groupID = UInt32(number(UInt64(UInt32.max)))
        metadata.userName = "grün \(number(99))"
        metadata.groupName = number(1) == 0 ? "" : "staff"
        metadata.modified = Timestamp(nanoseconds: Int64(bitPattern: number(.max)))
        metadata.changed = Timestamp(nanoseconds: -Int64(number(1 << 60)))
        metadata.inode = number(.max)
        metadata.device = number(.max)
        metadata.linkCount = number(.max)
        metadata.size = number(UInt64(Int64.max))
        metadata.deviceNumber = number(.max)
        if type == .symbolicLink { metadata.linkTarget = generator.bytes(Int(number(300))) }
        for index in 0..<Int(number(3)) {
            metadata.extendedAttributes.append(
                .init(name: Array("user.\(index)".utf8), value: generator.bytes(Int(number(500)))))
        }
        return metadata
    }

    mutating func entries() throws -> [TreeEntry] {
        var entries: [TreeEntry] = []
        for (index, type) in (FileType.allCases + FileType.allCases).enumerated() {
            var entry = TreeEntry(name: Array("n\(index + 10)".utf8) + [0xff, 0x0a], metadata: metadata(type))
            switch type {
            case .regular:
                entry.content =
                    index == 0
                    ? .inline(try items(5)) : .lists([.init(id: try chunk(), bytes: number(.max))])
                entry.fileDigest = number(1) == 0 ? nil : try digest()
            case .directory:
                for _ in 0..<Int(number(4)) { entry.pages.append(try chunk()) }
                entry.treeDigest = number(1) == 0 ? nil : try digest()
            default: break
            }
            entries.append(entry)
        }
        return entries
    }

    mutating func blobs() throws -> [PackedBlob] {
        try (0..<20).map { index in
            let members = try (0..<(index % 3 == 0 ? 5 : 1)).map { _ in
                BlobGroup.Member(id: try chunk(), length: UInt32(number(UInt64(BlobHeader.maximumRawLength))))
            }
            return PackedBlob(
                offset: UInt32(number(UInt64(UInt32.max))), sealedLength: UInt32(number(UInt64(UInt32.max))),
                isGroup: index % 3 == 0, members: members, base: index % 3 == 1 ? try chunk() : nil,
                codec: index % 2 == 0 ? nil : index % 3 == 1 ? .difference : [.stored, .zstd, .planes][index % 3])
        }
    }

    mutating func manifest() throws -> SnapshotManifest {
        var totals = SnapshotManifest.Totals()
        totals.files = number(1 << 50)
        totals.bytes = number(1 << 50)
        var state = StateInventory.State(
            path: "run/checkpoint-2", kind: "checkpoint", format: "transformers-trainer", judgement: "torn")
        state.tensors = [.init(dtype: "BF16", tensors: number(9), elements: number(1 << 40), bytes: number(1 << 40))]
        state.files = ["run/a"]
        var inventory = StateInventory()
        inventory.states = [state]
        inventory.runs = [.init(path: "run", format: "transformers-trainer")]
        return SnapshotManifest(
            time: Timestamp(nanoseconds: 1_767_225_600_123_456_789), host: "höst\n", user: "me",
            paths: ["/a b", "/ü\u{0}"], tags: ["x"], root: [try chunk(), try chunk()], contentDigest: try digest(),
            totals: totals, parent: try identifier(), supersedes: nil,
            problems: [.init(path: "/a", message: "gone")], inventory: inventory, durationSeconds: 1.5,
            program: "becalm 0")
    }

    mutating func chain(_ hasPredecessor: Bool) throws -> SnapshotChain {
        SnapshotChain(
            source: SnapshotChain.source(host: "h", paths: ["/b", "/a"]), counter: number(.max),
            predecessor: hasPredecessor ? .init(id: try identifier(), digest: try digest()) : nil)
    }

    mutating func indexed(_ count: Int) throws -> [IndexedPack] {
        try (0..<count).map { index in
            // Few sessions: they share rows of the session table.
            let own = index % 4 == 3 ? try SessionHeader.create(keyring: keyring).header : session
            return IndexedPack(
                id: try identifier(), kind: index % 2 == 0 ? .data : .tree, bytes: number(.max),
                retainedUntil: Timestamp(nanoseconds: Int64(number(UInt64(Int64.max)))), session: own)
        }
    }

    mutating func indexEntries(_ count: Int, packs: Int) throws -> [IndexEntry] {
        try (0..<count).map { _ in
            IndexEntry(
                id: try chunk(), pack: UInt32(number(UInt64(packs - 1))), offset: UInt32(number(UInt64(UInt32.max))),
                sealedLength: UInt32(number(UInt64(UInt32.max))), rawLength: UInt32(number(0x0fff_ffff)),
                isGroup: number(1) == 1, base: number(3) == 0 ? try chunk() : nil,
                codec: [nil, .stored, .zstd, .planes][Int(number(3))])
        }
    }

    mutating func journal() throws -> JournalRecord {
        JournalRecord(
            files: try (0..<3).map { _ in
                .init(
                    pathDigest: try digest(), size: number(.max), modified: Timestamp(nanoseconds: -5),
                    changed: Timestamp(nanoseconds: Int64(number(1 << 62))), inode: number(.max), items: try items(4),
                    hashState: generator.bytes(Int(number(40))))
            })
    }

    mutating func condemned() throws -> CondemnedRecord {
        CondemnedRecord(
            packs: try (0..<9).map { index in
                .init(id: try identifier(), kind: index % 2 == 0 ? .data : .tree, tag: "\"tag \(index)\"")
            })
    }

    mutating func forgotten() throws -> ForgottenRecord {
        ForgottenRecord(
            snapshots: try (0..<9).map { _ in
                .init(id: try identifier(), digest: try digest(), source: try digest(), counter: number(.max))
            })
    }
}
