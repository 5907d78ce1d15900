internal import Basics
package import Sealing

/// The digest that equal trees share on every machine and in every repository (Format.md, "Content digest").
///
/// It covers names, types, permission bits, link targets, device numbers, `user.*` attributes and capabilities, and the
/// SHA-256 of each file. It leaves out owners, times and other attributes, which differ between machines that hold
/// the same thing, and everything about how it is stored.
package struct ContentDigest: Sendable {
    private var state = SHA256State()
    private var isComplete = true

    /// The digest of an empty directory so far.
    package init() { update(Array("becalm directory v1".utf8)) }

    /// Takes the next entry, in ascending byte order of names.
    package mutating func add(_ entry: TreeEntry) {
        let metadata = entry.metadata
        var writer = ByteWriter(reserving: 128)
        writer.write(prefixed: entry.name)
        writer.write(metadata.type.rawValue)
        writer.write(littleEndian: metadata.permissions)
        let attributes = metadata.extendedAttributes.filter { Self.counts($0) }
        writer.write(varint: UInt64(attributes.count))
        for attribute in attributes {
            writer.write(prefixed: attribute.name)
            writer.write(prefixed: attribute.value)
        }
        switch metadata.type {
        case .regular:
            writer.write(varint: metadata.size)
            add(entry.fileDigest, &writer)
        case .directory: add(entry.treeDigest, &writer)
        case .symbolicLink: writer.write(prefixed: metadata.linkTarget)
        case .characterDevice, .blockDevice: writer.write(varint: metadata.deviceNumber)
        case .fifo, .socket: break
        }
        update(writer.bytes)
    }

    private mutating func add(_ digest: Digest?, _ writer: inout ByteWriter) {
        guard let digest else { return isComplete = false }
        writer.write(raw: digest.bytes)
    }

    private mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { state.update($0) } }

    /// The directory's digest; nil when a file below it was stored without one.
    package mutating func finish() -> Digest? { isComplete ? state.finish() : nil }

    private static func counts(_ attribute: ExtendedAttribute) -> Bool {
        attribute.name.starts(with: Array("user.".utf8)) || attribute.name == Array("security.capability".utf8)
    }
}
