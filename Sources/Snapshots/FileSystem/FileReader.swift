internal import CFileSystemShims
package import RepositoryFormat
internal import SystemPackage

/// A regular file open for reading.
///
/// Owns its descriptor until the last reference goes. Any thread may use it, several at once: reads name their offset.
/// All members block. The access time stays as it is where the system lets us (owner or root).
package final class FileReader: Sendable {
    private let descriptor: CInt
    /// The path it was reached by, raw; for messages.
    package let path: [UInt8]

    /// Takes `descriptor` over, also when it throws `.changedWhileRead` because it is no regular file.
    init(owning descriptor: CInt, path: [UInt8]) throws(SnapshotError) {
        self.descriptor = descriptor
        self.path = path
        let type = try status().type
        guard type == .regular else { throw Self.notRegular(type, path) }
    }

    deinit { _ = fs_close(descriptor) }

    /// Reads from `offset` until `buffer` is full or the file ends, and answers how many bytes that were.
    package func read(
        at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(SnapshotError) -> Int {
        guard !buffer.isEmpty, let start = Int64(exactly: offset), start <= Int64.max - Int64(buffer.count) else {
            return 0
        }
        let count = fs_read(descriptor, buffer.baseAddress, buffer.count, start)
        if count < 0 { throw failure(count, "read") }
        return Int(count)
    }

    /// Where the file has data, in ascending order; between them it has holes, which read as zeros.
    ///
    /// Gaps under 64 KiB count as data: they cost less to read than to describe. At most 65 536 extents: of a file with
    /// more, the smaller gaps count as data too. One extent where the file system does not tell. None for an empty file.
    package func extents() throws(SnapshotError) -> [Range<UInt64>] {
        let status = try status()
        let size = min(status.size, UInt64(Int64.max))
        guard size > 0 else { return [] }
        // A file under the smallest gap can only be a hole as a whole. Blocks alone do not prove one: some file systems
        // report none for any file.
        if size < ExtentList.smallestGap, status.blocks > 0 { return [0..<size] }
        var list = ExtentList()
        var position: UInt64 = 0
        while position < size {
            let data = fs_next_data(descriptor, Int64(position))
            // ENXIO: no data from here on (lseek(2)).
            if data == -Int64(Errno.noSuchAddressOrDevice.rawValue) { break }
            let hole = data < 0 ? data : fs_next_hole(descriptor, data)
            if hole < 0 {
                let errno = Errno(rawValue: CInt(-hole))
                // ENXIO here: the file was cut off meanwhile; the caller notices by `changed(since:)`.
                if errno == .noSuchAddressOrDevice { break }
                if errno == .invalidArgument || errno == .notSupported || errno == .noFunction
                    || errno == .inappropriateIOCTLForDevice
                {
                    return [0..<size]
                }
                throw failure(hole, "find the holes of")
            }
            guard UInt64(data) >= position, hole > data else { return [0..<size] }
            list.append(min(UInt64(data), size)..<min(UInt64(hole), size))
            position = UInt64(hole)
        }
        return list.extents
    }

    /// What the system says of the open file now; without names and extended attributes.
    package func metadata() throws(SnapshotError) -> FileMetadata {
        let status = try status()
        guard let metadata = status.metadata(owners: nil) else { throw Self.notRegular(nil, path) }
        return metadata
    }

    /// Whether the file differs from what `earlier` says: other content, other metadata or another file. Compares device,
    /// inode, size, modification and change time. True as well when the system cannot tell any more.
    package func changed(since earlier: FileMetadata) -> Bool {
        var status = fs_status()
        guard fs_status_of(descriptor, &status) == 0 else { return true }
        return status.inode != earlier.inode || status.device != earlier.device || status.size != earlier.size
            || status.modified != earlier.modified || status.changed != earlier.changed
    }

    /// Tells the kernel that the file will be read from front to back. Advice only: a refusal changes nothing.
    package func adviseSequential() { _ = fs_advise_sequential(descriptor) }

    /// Tells the kernel that the bytes in `range` will not be needed again, so that a backup does not push what the
    /// machine works with out of its cache. Advice only.
    package func dropCache(_ range: Range<UInt64>) {
        guard let start = Int64(exactly: range.lowerBound), !range.isEmpty else { return }
        let count = min(range.upperBound, UInt64(Int64.max)) - range.lowerBound
        _ = fs_advise_unneeded(descriptor, start, Int64(count))
    }

    /// The error for what should be a regular file and is `type`.
    static func notRegular(_ type: RepositoryFormat.FileType?, _ path: [UInt8]) -> SnapshotError {
        SnapshotError(
            .changedWhileRead,
            "cannot read \(PathText.display(path)): it is \(type?.text ?? "something unknown") and no regular file; "
                + "if it was replaced meanwhile, run again", path: path)
    }

    private func status() throws(SnapshotError) -> fs_status {
        var status = fs_status()
        let result = fs_status_of(descriptor, &status)
        if result < 0 { throw failure(Int64(result), "look at") }
        return status
    }

    private func failure(_ result: Int64, _ operation: String) -> SnapshotError {
        .system(Errno(rawValue: CInt(-result)), operation, path, side: .source)
    }
}
