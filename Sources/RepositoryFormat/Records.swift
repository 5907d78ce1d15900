package import Basics
package import Sealing

/// Packs that a collector has given up, under `condemned/<id>`: whoever writes treats them as absent from then on, and
/// they are removed once the grace period has passed. Condemning is final (Format.md, "Collection").
package struct CondemnedRecord: Hashable, Sendable {
    /// A pack and the tag it had, so that only that object is removed.
    package struct Pack: Hashable, Sendable {
        package var id: Identifier
        package var kind: ChunkKind
        package var tag: String

        package init(id: Identifier, kind: ChunkKind, tag: String) {
            self.id = id
            self.kind = kind
            self.tag = tag
        }
    }

    private static let label = "condemned v1"
    package var packs: [Pack]

    package init(packs: [Pack]) { self.packs = packs }

    /// The stored bytes.
    package func encoded(id: Identifier, keyring: Keyring) throws -> [UInt8] {
        var writer = ByteWriter(reserving: packs.count * 64)
        writer.write(varint: UInt64(packs.count))
        for pack in packs {
            writer.write(raw: pack.id.bytes)
            writer.write(pack.kind.rawValue)
            writer.write(prefixed: Array(pack.tag.utf8))
        }
        return try MetaBox.seal(writer.bytes, label: Self.label, name: id.description, keyring: keyring)
    }

    /// Reads stored bytes. Throws `.damaged`.
    package init(decoding bytes: [UInt8], id: Identifier, keyring: Keyring) throws(FormatError) {
        self = try FormatError.reading("condemned record \(id)") {
            var reader = ByteReader(
                try MetaBox.open(bytes, label: Self.label, name: id.description, keyring: keyring))
            var packs: [Pack] = []
            for _ in 0..<(try reader.readCount(minimumSize: 18)) {
                let pack = try Identifier.read(&reader)
                guard let kind = ChunkKind(rawValue: try reader.readByte()) else {
                    throw reader.malformed("kind expected")
                }
                packs.append(
                    Pack(
                        id: pack, kind: kind,
                        tag: String(decoding: try reader.readPrefixed(maximum: 4096), as: UTF8.self)))
            }
            try reader.expectEnd()
            return CondemnedRecord(packs: packs)
        }
    }
}

/// Snapshots that were removed on purpose, under `forgotten/<id>`: a gap in a chain that no record explains is an alarm.
package struct ForgottenRecord: Hashable, Sendable {
    /// A removed snapshot.
    package struct Snapshot: Hashable, Sendable {
        package var id: Identifier
        /// SHA-256 of the object.
        package var digest: Digest
        package var source: Digest
        package var counter: UInt64

        package init(id: Identifier, digest: Digest, source: Digest, counter: UInt64) {
            self.id = id
            self.digest = digest
            self.source = source
            self.counter = counter
        }
    }

    private static let label = "forgotten v1"
    package var snapshots: [Snapshot]

    package init(snapshots: [Snapshot]) { self.snapshots = snapshots }

    /// The stored bytes.
    package func encoded(id: Identifier, keyring: Keyring) throws -> [UInt8] {
        var writer = ByteWriter(reserving: snapshots.count * 96)
        writer.write(varint: UInt64(snapshots.count))
        for snapshot in snapshots {
            writer.write(raw: snapshot.id.bytes)
            writer.write(raw: snapshot.digest.bytes)
            writer.write(raw: snapshot.source.bytes)
            writer.write(varint: snapshot.counter)
        }
        return try MetaBox.seal(writer.bytes, label: Self.label, name: id.description, keyring: keyring)
    }

    /// Reads stored bytes. Throws `.damaged`.
    package init(decoding bytes: [UInt8], id: Identifier, keyring: Keyring) throws(FormatError) {
        self = try FormatError.reading("forgotten record \(id)") {
            var reader = ByteReader(
                try MetaBox.open(bytes, label: Self.label, name: id.description, keyring: keyring))
            var snapshots: [Snapshot] = []
            for _ in 0..<(try reader.readCount(minimumSize: 81)) {
                snapshots.append(
                    Snapshot(
                        id: try Identifier.read(&reader), digest: try Digest.read(&reader),
                        source: try Digest.read(&reader), counter: try reader.readVarint()))
            }
            try reader.expectEnd()
            return ForgottenRecord(snapshots: snapshots)
        }
    }
}

/// How far an interrupted backup had come inside its large files, under `journal/<source>-<session>`.
package struct JournalRecord: Hashable, Sendable {
    /// A file that was being stored.
    package struct File: Hashable, Sendable {
        /// SHA-256 of the path's bytes under the tree-id key: names are not told to writers.
        package var pathDigest: Digest
        package var size: UInt64
        package var modified: Timestamp
        package var changed: Timestamp
        package var inode: UInt64
        /// What is stored, from the file's start.
        package var items: [ContentItem]
        /// The state of the file's SHA-256 after those bytes (`SHA256State.exported`), or empty.
        package var hashState: [UInt8]

        package init(
            pathDigest: Digest, size: UInt64, modified: Timestamp, changed: Timestamp, inode: UInt64,
            items: [ContentItem], hashState: [UInt8]
        ) {
            self.pathDigest = pathDigest
            self.size = size
            self.modified = modified
            self.changed = changed
            self.inode = inode
            self.items = items
            self.hashState = hashState
        }
    }

    private static let label = "journal v1"
    package var files: [File]

    package init(files: [File]) { self.files = files }

    /// The stored bytes.
    package func encoded(name: String, keyring: Keyring) throws -> [UInt8] {
        var writer = ByteWriter(reserving: 4096)
        writer.write(varint: UInt64(files.count))
        for file in files {
            writer.write(raw: file.pathDigest.bytes)
            writer.write(varint: file.size)
            writer.write(zigzag: file.modified.nanoseconds)
            writer.write(zigzag: file.changed.nanoseconds)
            writer.write(varint: file.inode)
            ContentList.write(file.items, to: &writer)
            writer.write(prefixed: file.hashState)
        }
        return try MetaBox.seal(writer.bytes, label: Self.label, name: name, keyring: keyring)
    }

    /// Reads stored bytes. Throws `.damaged`.
    package init(decoding bytes: [UInt8], name: String, keyring: Keyring) throws(FormatError) {
        self = try FormatError.reading("journal \(name)") {
            var reader = ByteReader(try MetaBox.open(bytes, label: Self.label, name: name, keyring: keyring))
            var files: [File] = []
            for _ in 0..<(try reader.readCount(minimumSize: 37)) {
                files.append(
                    File(
                        pathDigest: try Digest.read(&reader), size: try reader.readVarint(),
                        modified: Timestamp(nanoseconds: try reader.readZigzag()),
                        changed: Timestamp(nanoseconds: try reader.readZigzag()), inode: try reader.readVarint(),
                        items: try ContentList.read(&reader), hashState: Array(try reader.readPrefixed(maximum: 64))))
            }
            try reader.expectEnd()
            return JournalRecord(files: files)
        }
    }
}
