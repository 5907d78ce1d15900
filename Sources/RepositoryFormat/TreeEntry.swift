internal import Basics
package import Sealing

/// One name in a directory.
package struct TreeEntry: Hashable, Sendable {
    /// As the kernel gives it: any bytes but `/` and NUL.
    package var name: [UInt8]
    package var metadata: FileMetadata
    /// Of a regular file.
    package var content: FileContent?
    /// SHA-256 of a regular file's bytes, holes as zeros; nil when it was switched off.
    package var fileDigest: Digest?
    /// Of a directory: its pages in order.
    package var pages: [ChunkID]
    /// Of a directory: its content digest, nil when a file below it has none.
    package var treeDigest: Digest?

    package init(
        name: [UInt8], metadata: FileMetadata, content: FileContent? = nil, fileDigest: Digest? = nil,
        pages: [ChunkID] = [], treeDigest: Digest? = nil
    ) {
        self.name = name
        self.metadata = metadata
        self.content = content
        self.fileDigest = fileDigest
        self.pages = pages
        self.treeDigest = treeDigest
    }

    func write(to writer: inout ByteWriter) {
        writer.write(prefixed: name)
        metadata.write(to: &writer)
        writer.write((content != nil ? 1 : 0) | (fileDigest != nil ? 2 : 0) | (treeDigest != nil ? 4 : 0) as UInt8)
        content?.write(to: &writer)
        if let fileDigest { writer.write(raw: fileDigest.bytes) }
        if let treeDigest { writer.write(raw: treeDigest.bytes) }
        if metadata.type == .directory {
            writer.write(varint: UInt64(pages.count))
            for page in pages { writer.write(raw: page.digest.bytes) }
        }
        // Room for fields to come: readers skip what they do not know.
        writer.write(varint: 0)
    }

    static func read(_ reader: inout ByteReader) throws(ByteReader.Malformed) -> TreeEntry {
        let name = Array(try reader.readPrefixed(maximum: 4096))
        guard !name.isEmpty, name != [0x2e], name != [0x2e, 0x2e], !name.contains(0), !name.contains(0x2f) else {
            throw reader.malformed("a file name expected")
        }
        var entry = TreeEntry(name: name, metadata: try FileMetadata.read(&reader))
        let flags = try reader.readByte()
        guard flags < 8 else { throw reader.malformed("known flags expected") }
        if flags & 1 != 0 { entry.content = try FileContent.read(&reader) }
        if flags & 2 != 0 { entry.fileDigest = try Digest.read(&reader) }
        if flags & 4 != 0 { entry.treeDigest = try Digest.read(&reader) }
        if entry.metadata.type == .directory {
            for _ in 0..<(try reader.readCount(minimumSize: 32)) {
                entry.pages.append(ChunkID(try Digest.read(&reader)))
            }
        }
        _ = try reader.readPrefixed()
        return entry
    }
}

extension FileMetadata {
    func write(to writer: inout ByteWriter) {
        writer.write(type.rawValue)
        writer.write(varint: UInt64(permissions))
        writer.write(varint: UInt64(userID))
        writer.write(varint: UInt64(groupID))
        writer.write(prefixed: Array(userName.utf8))
        writer.write(prefixed: Array(groupName.utf8))
        writer.write(zigzag: modified.nanoseconds)
        writer.write(zigzag: changed.nanoseconds)
        writer.write(varint: inode)
        writer.write(varint: device)
        writer.write(varint: linkCount)
        writer.write(varint: size)
        writer.write(varint: deviceNumber)
        writer.write(prefixed: linkTarget)
        writer.write(varint: UInt64(extendedAttributes.count))
        for attribute in extendedAttributes {
            writer.write(prefixed: attribute.name)
            writer.write(prefixed: attribute.value)
        }
    }

    static func read(_ reader: inout ByteReader) throws(ByteReader.Malformed) -> FileMetadata {
        guard let type = FileType(rawValue: try reader.readByte()) else { throw reader.malformed("file type expected") }
        let permissions = try reader.readVarint()
        guard permissions <= 0o7777 else { throw reader.malformed("permissions expected") }
        var metadata = FileMetadata(type: type, permissions: UInt16(permissions))
        metadata.userID = UInt32(truncatingIfNeeded: try reader.readVarint())
        metadata.groupID = UInt32(truncatingIfNeeded: try reader.readVarint())
        metadata.userName = String(decoding: try reader.readPrefixed(maximum: 1024), as: UTF8.self)
        metadata.groupName = String(decoding: try reader.readPrefixed(maximum: 1024), as: UTF8.self)
        metadata.modified = Timestamp(nanoseconds: try reader.readZigzag())
        metadata.changed = Timestamp(nanoseconds: try reader.readZigzag())
        metadata.inode = try reader.readVarint()
        metadata.device = try reader.readVarint()
        metadata.linkCount = try reader.readVarint()
        metadata.size = try reader.readVarint()
        guard metadata.size <= UInt64(Int64.max) else { throw reader.malformed("a possible size expected") }
        metadata.deviceNumber = try reader.readVarint()
        metadata.linkTarget = Array(try reader.readPrefixed(maximum: 65_536))
        for _ in 0..<(try reader.readCount(minimumSize: 2)) {
            metadata.extendedAttributes.append(
                ExtendedAttribute(
                    name: Array(try reader.readPrefixed(maximum: 256)),
                    value: Array(try reader.readPrefixed(maximum: 1 << 20))))
        }
        return metadata
    }
}
