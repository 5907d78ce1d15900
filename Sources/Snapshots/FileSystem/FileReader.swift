internal import CFileSystemShims
package import RepositoryFormat
internal import SystemPackage

/// A regular file, or a block device, open for reading.
///
/// Owns its descriptor until the last reference goes. Any thread may use it, several at once: reads name their offset.
/// All members block. The access time stays as it is where the system lets us (owner or root).
package final class FileReader: Sendable {
    private let descriptor: CInt
    /// The path it was reached by, raw; for messages.
    package let path: [UInt8]
    /// Bytes of the block device that it is, as it said when it was opened; nil for a regular file.
    package let deviceBytes: UInt64?

    /// Takes `descriptor` over, also when it throws `.changedWhileRead` because it is no regular file.
    init(owning descriptor: CInt, path: [UInt8]) throws(SnapshotError) {
        self.descriptor = descriptor
        self.path = path
        deviceBytes = nil
        let type = try status().type
        guard type == .regular else { throw Self.notRegular(type, path) }
    }

    /// Takes `descriptor` over, also when it throws because it is no block device.
    private init(owningDevice descriptor: CInt, path: [UInt8]) throws(SnapshotError) {
        self.descriptor = descriptor
        self.path = path
        let bytes = fs_device_size(descriptor)
        deviceBytes = UInt64(max(bytes, 0))
        let type = try status().type
        guard type == .blockDevice else {
            throw SnapshotError(
                .changedWhileRead,
                "cannot read \(PathText.display(path)): it is \(type?.text ?? "something unknown") and no block device any more",
                path: path)
        }
        guard bytes >= 0 else { throw failure(bytes, "tell the size of") }
        guard bytes > 0 else {
            throw SnapshotError(
                .sourceUnreadable,
                "cannot read \(PathText.display(path)): it is a device of no bytes; nothing may be in it",
                path: path)
        }
    }

    /// Opens the block device at `path`, which is the user's own: symbolic links to it are followed.
    ///
    /// Throws `.changedWhileRead` when it is something else, and what opening it throws.
    package static func device(at path: [UInt8]) throws(SnapshotError) -> FileReader {
        let descriptor = EntryName.withTerminated(path) { fs_open_device($0, 0, 0) }
        guard descriptor >= 0 else { throw .system(Errno(rawValue: -descriptor), "open", path, side: .source) }
        return try FileReader(owningDevice: descriptor, path: path)
    }

    /// Whether `path` leads to a block device, symbolic links followed.
    static func isDevice(at path: [UInt8]) -> Bool {
        var status = fs_status()
        return EntryName.withTerminated(path) { fs_status_followed($0, &status) } == 0 && status.type == .blockDevice
    }

    /// Whether the block device at `path` is mounted, or something else holds it for itself. False where the system does
    /// not tell.
    static func isInUse(deviceAt path: [UInt8]) -> Bool {
        let descriptor = EntryName.withTerminated(path) { fs_open_device($0, 0, 1) }
        if descriptor >= 0 { _ = fs_close(descriptor) }
        return descriptor == -Errno.resourceBusy.rawValue
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
        if count < 0 { throw deviceBytes == nil ? failure(count, "read") : unreadable(from: offset, buffer, count) }
        return Int(count)
    }

    /// The error for a part of a device that cannot be read, with the first block in it that cannot.
    private func unreadable(
        from offset: UInt64, _ buffer: UnsafeMutableRawBufferPointer, _ result: Int64
    ) -> SnapshotError {
        var (position, result) = (0, result)
        // The kernel reads ahead, and what it has read together fails together.
        dropCache(offset..<offset + UInt64(buffer.count))
        _ = fs_advise_random(descriptor)
        defer { adviseSequential() }
        while position < buffer.count {
            let part = min(Self.blockBytes, buffer.count - position)
            let count = fs_read(
                descriptor, buffer.baseAddress.map { $0 + position }, part, Int64(offset) + Int64(position))
            if count < 0 {
                result = count
                break
            }
            position += part
        }
        return failure(result, "read the bytes from \(offset + UInt64(position)) on of")
    }

    /// What a device is read in to find the place that cannot be.
    private static let blockBytes = 4096

    /// Where the file has data, in ascending order; between them it has holes, which read as zeros.
    ///
    /// Gaps under 64 KiB count as data: they cost less to read than to describe. At most 65 536 extents: of a file with
    /// more, the smaller gaps count as data too. One extent where the file system does not tell, and for a device. None for
    /// an empty file.
    package func extents() throws(SnapshotError) -> [Range<UInt64>] {
        if let deviceBytes { return deviceBytes > 0 ? [0..<deviceBytes] : [] }
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

    /// What the system says of the open file now; without names and extended attributes. Of a device, what a regular file
    /// with its bytes is stored as (`FileMetadata.isDeviceContent`).
    package func metadata() throws(SnapshotError) -> FileMetadata {
        let status = try status()
        guard var metadata = status.metadata(owners: nil) else { throw Self.notRegular(nil, path) }
        if let deviceBytes {
            metadata.type = .regular
            metadata.size = deviceBytes
            // Other names of a device's node are of no account: its bytes are stored once for each.
            metadata.linkCount = 1
        }
        return metadata
    }

    /// Whether the file differs from what `earlier` says: other content, other metadata or another file. Compares device,
    /// inode, size, modification and change time; of a device the size alone, for nobody notes what is written to one. True
    /// as well when the system cannot tell any more.
    package func changed(since earlier: FileMetadata) -> Bool {
        if deviceBytes != nil { return fs_device_size(descriptor) != Int64(clamping: earlier.size) }
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
