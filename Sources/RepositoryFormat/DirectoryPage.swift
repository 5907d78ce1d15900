internal import Basics

/// A part of a directory: entries in ascending byte order of their names. A directory of any size is a list of pages.
package enum DirectoryPage {
    private static let version: UInt8 = 1

    /// The content of a page's tree chunk.
    package static func encode(_ entries: [TreeEntry]) -> [UInt8] {
        var writer = ByteWriter(reserving: entries.count * 160)
        writer.write(version)
        writer.write(varint: UInt64(entries.count))
        for entry in entries { entry.write(to: &writer) }
        return writer.bytes
    }

    /// Reads a page. Throws `.damaged` when it is malformed, out of order or names a thing twice.
    package static func decode(_ bytes: [UInt8]) throws(FormatError) -> [TreeEntry] {
        try FormatError.reading("a directory page") {
            var reader = ByteReader(bytes)
            guard try reader.readByte() == version else {
                throw FormatError(.newerVersion, "a directory page has a newer form: install a newer becalm")
            }
            var entries: [TreeEntry] = []
            for _ in 0..<(try reader.readCount(minimumSize: 16)) {
                let entry = try TreeEntry.read(&reader)
                if let last = entries.last, !last.name.lexicographicallyPrecedes(entry.name) {
                    throw reader.malformed("names in ascending order expected")
                }
                entries.append(entry)
            }
            try reader.expectEnd()
            return entries
        }
    }

    /// Whether a page ends after `entry`: decided by its name, so that a change elsewhere leaves the page as it was.
    ///
    /// One name in 256 on average, and never fewer than 64 entries (but the last page) or more than 2048.
    package static func ends(after entry: TreeEntry, count: Int) -> Bool {
        if count >= 2048 { return true }
        guard count >= 64 else { return false }
        // FNV-1a, 64 bits.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in entry.name { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return (hash ^ (hash >> 32)) & 0xff == 0
    }
}
