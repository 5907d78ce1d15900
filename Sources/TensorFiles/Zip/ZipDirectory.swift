/// Where a zip archive's central directory lies, by the records behind it.
struct ZipDirectory {
    /// The directory's bytes.
    var range: Range<UInt64>
    /// Entries in it.
    var count: UInt64

    /// Bytes of the end record without its comment, of the zip64 locator and of the zip64 end record.
    static let endSize: UInt64 = 22
    static let locatorSize: UInt64 = 20
    static let end64Size: UInt64 = 56

    /// Looks for the end record as loaders do: the last place within 64 KiB of the end that carries its signature,
    /// whatever stands behind.
    static func find(in source: any TensorByteSource) throws -> ZipDirectory {
        let count = min(source.size, endSize + 0xffff)
        let tail = try source.bytes(at: source.size - count, count: Int(count))
        let last = tail.count - Int(endSize)
        guard last >= 0, let place = (0...last).last(where: { is32(tail, $0, 0x0605_4b50) }) else {
            throw Stop.truncated("the zip archive ends without its directory")
        }
        let end = source.size - count + UInt64(place)
        let fields = Array(tail[place...].prefix(Int(endSize)))
        var directory = ZipDirectory(
            range: 0..<0, count: UInt64(number(fields, 10, 2)))
        var (offset, size) = (number(fields, 16, 4), number(fields, 12, 4))
        var limit = end
        // The number of this file and of the directory's, and the entries in this file beside those in all.
        var disks = [number(fields, 4, 2), number(fields, 6, 2)]
        var here = number(fields, 8, 2)
        if let record = try record64(in: source, before: end) {
            disks = [number(record.fields, 16, 4), number(record.fields, 20, 4)]
            (here, directory.count) = (number(record.fields, 24, 8), number(record.fields, 32, 8))
            (offset, size) = (number(record.fields, 48, 8), number(record.fields, 40, 8))
            limit = record.offset
        }
        guard disks == [0, 0], here == directory.count else {
            throw Stop.unsupported("the zip archive spans several files")
        }
        guard offset <= limit, size <= limit - offset else {
            throw Stop.damaged("the zip archive's directory ends beyond its end record")
        }
        // An entry has 46 bytes at least.
        guard directory.count <= size / 46 else {
            throw Stop.damaged("\(directory.count) zip members are announced in a directory of \(size) bytes")
        }
        directory.range = offset..<offset + size
        return directory
    }

    /// The zip64 end record, where a locator in front of the end record points to one.
    private static func record64(
        in source: any TensorByteSource, before end: UInt64
    ) throws -> (offset: UInt64, fields: [UInt8])? {
        guard end >= locatorSize + end64Size else { return nil }
        let locator = try source.bytes(at: end - locatorSize, count: Int(locatorSize))
        guard is32(locator, 0, 0x0706_4b50) else { return nil }
        let offset = number(locator, 8, 8)
        // Without a record there some loaders go on with the plain record's numbers, and may be right.
        let misplaced = Stop.unsupported("the zip64 end record is not where its locator says")
        guard offset <= end - locatorSize - end64Size else { throw misplaced }
        let fields = try source.bytes(at: offset, count: Int(end64Size))
        guard is32(fields, 0, 0x0606_4b50) else { throw misplaced }
        return (offset, fields)
    }

    /// Where an archive begins that ends at `end`, without a comment and with zip64 records as PyTorch writes them; nil
    /// when none does. Offsets in an archive count from its start, and the locator holds one whose place is known.
    static func start(ofArchiveEndingAt end: UInt64, in source: any TensorByteSource) throws -> UInt64? {
        let count = endSize + locatorSize + end64Size
        guard end >= count else { return nil }
        let tail = try source.bytes(at: end - count, count: Int(count))
        let locator = Int(end64Size)
        let record = locator + Int(locatorSize)
        guard is32(tail, 0, 0x0606_4b50), is32(tail, locator, 0x0706_4b50), is32(tail, record, 0x0605_4b50),
            number(tail, record + 20, 2) == 0
        else { return nil }
        let offset = number(tail, locator + 8, 8)
        return offset <= end - count ? end - count - offset : nil
    }

    private static func number(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
        bytes[offset..<offset + count].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    }

    private static func is32(_ bytes: [UInt8], _ offset: Int, _ value: UInt64) -> Bool {
        bytes[offset] == UInt8(value & 0xff) && number(bytes, offset, 4) == value
    }
}
