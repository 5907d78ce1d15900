package import Basics
internal import CFileSystemShims
internal import RepositoryFormat
internal import Synchronization
internal import SystemPackage

/// A regular file, or a block device, open for writing while it is restored.
///
/// Owns its descriptor until `close` or the last reference goes. Several threads may read and write at once, each in a
/// range of its own; `close` comes after all of them. All members block.
package final class FileWriter: Sendable {
    private let handle: Atomic<CInt>
    /// The same file open past the page cache; -1 while it is not.
    private let directHandle = Atomic<CInt>(-1)
    /// What memory, offsets and lengths are multiples of when they go past the page cache.
    private static let blockBytes: UInt64 = 4096
    /// The path it was reached by, raw; for messages.
    package let path: [UInt8]

    /// Bytes of the device, or of the file that stands for one, that it is; nil for a file that is being made.
    package let deviceBytes: UInt64?

    /// The descriptor, -1 after `close`.
    var descriptor: CInt { handle.load(ordering: .acquiring) }

    private init(owning descriptor: CInt, path: [UInt8], deviceBytes: UInt64? = nil) {
        handle = Atomic(descriptor)
        self.path = path
        self.deviceBytes = deviceBytes
    }

    deinit {
        let descriptor = descriptor
        if descriptor >= 0 { _ = fs_close(descriptor) }
        closeDirect()
    }

    private func closeDirect() {
        let direct = directHandle.exchange(-1, ordering: .acquiringAndReleasing)
        if direct >= 0 { _ = fs_close(direct) }
    }

    /// Creates the file `name`, which must not exist in any form, for its user alone (mode 0600).
    ///
    /// Throws `.alreadyExists`, also for a symbolic link that leads nowhere.
    package static func create(in directory: DirectoryHandle, name: [UInt8]) throws(SnapshotError) -> FileWriter {
        let result = try directory.call(name) { fs_create_at(directory.descriptor, $0) }
        if result < 0 { throw directory.failure(Errno(rawValue: -result), "create", name) }
        return FileWriter(owning: result, path: directory.path(of: name))
    }

    /// Opens the regular file `name` to write parts of it anew.
    ///
    /// Throws `.refusedPath` when it is not a regular file, or has other names: those may lie outside of the target, and
    /// would change with it. The caller then removes the entry and creates it. `.targetMissing` when there is none.
    package static func openExisting(
        in directory: DirectoryHandle, name: [UInt8]
    ) throws(SnapshotError) -> FileWriter {
        let path = directory.path(of: name)
        let result = try directory.call(name) { fs_open_updating_at(directory.descriptor, $0) }
        guard result >= 0 else {
            let errno = Errno(rawValue: -result)
            if errno == .tooManySymbolicLinkLevels || errno == .isDirectory || errno == .noSuchAddressOrDevice {
                throw refusal(try directory.status(of: name).type?.text ?? "something unknown", path, errno)
            }
            throw directory.failure(errno, "open for writing", name)
        }
        let writer = FileWriter(owning: result, path: path)
        var status = fs_status()
        let looked = fs_status_of(result, &status)
        if looked < 0 { throw writer.failure(looked, "look at") }
        guard status.type == .regular else { throw refusal(status.type?.text ?? "something unknown", path, nil) }
        guard status.link_count == 1 else { throw refusal("a file of \(status.link_count) names", path, nil) }
        return writer
    }

    /// Opens the block device at `path`, or the regular file that stands for one, to be written to: it has the size that it
    /// has. The path is the user's own: symbolic links are followed. With `isExclusive`, nobody can mount a device meanwhile.
    ///
    /// Throws `.refusedPath` for what is neither and, with `isExclusive`, for a device that is mounted or that something else
    /// holds.
    package static func device(at path: [UInt8], isExclusive: Bool) throws(SnapshotError) -> FileWriter {
        let result = EntryName.withTerminated(path) { fs_open_device($0, 1, isExclusive ? 1 : 0) }
        guard result >= 0 else {
            let errno = Errno(rawValue: -result)
            guard errno == .resourceBusy else {
                throw .system(errno, "open for writing", path, side: .target)
            }
            throw SnapshotError(
                .refusedPath,
                "refused to write to \(PathText.display(path)): it is mounted, or something else holds it; unmount it first, or say that it may be overwritten all the same (--force)",
                path: path, cause: errno)
        }
        var status = fs_status()
        let looked = fs_status_of(result, &status)
        let bytes = status.type == .blockDevice ? fs_device_size(result) : Int64(clamping: status.size)
        let writer = FileWriter(owning: result, path: path, deviceBytes: UInt64(max(bytes, 0)))
        if looked < 0 { throw writer.failure(looked, "look at") }
        guard status.type == .blockDevice || status.type == .regular else {
            throw refusal(status.type?.text ?? "something unknown", path, nil)
        }
        if bytes < 0 { throw writer.failure(CInt(clamping: bytes), "tell the size of") }
        return writer
    }

    /// What is at `path`, symbolic links followed; nil when there is nothing, or nobody may look.
    static func type(at path: [UInt8]) -> RepositoryFormat.FileType? {
        var status = fs_status()
        return EntryName.withTerminated(path) { fs_status_followed($0, &status) } == 0 ? status.type : nil
    }

    /// Has what is read from now on come from the disk. Advice only.
    func dropCache() { _ = fs_advise_unneeded(descriptor, 0, 0) }

    /// The file's size in bytes.
    package func size() throws(SnapshotError) -> UInt64 {
        if let deviceBytes { return deviceBytes }
        var status = fs_status()
        let result = fs_status_of(descriptor, &status)
        if result < 0 { throw failure(result, "look at") }
        return status.size
    }

    /// Cuts the file off at `size` bytes, or extends it by a hole.
    package func setSize(_ size: UInt64) throws(SnapshotError) {
        try check(size)
        let result = fs_set_size(descriptor, Int64(size))
        if result < 0 { throw failure(result, "set the size of") }
    }

    /// Reserves space for `range`, so that a full disk shows before the data is fetched. The size stays.
    ///
    /// False where the file system cannot. Throws `.noSpace`.
    @discardableResult
    package func preallocate(_ range: Range<UInt64>) throws(SnapshotError) -> Bool {
        try check(range.upperBound)
        if range.isEmpty { return true }
        let result = fs_allocate(descriptor, Int64(range.lowerBound), Int64(range.count))
        if result == 0 { return true }
        if Self.isUnsupported(result) { return false }
        throw failure(result, "reserve space for")
    }

    /// Writes all of `bytes` at `offset`. Throws `.noSpace`, `.targetUnwritable`.
    package func write(at offset: UInt64, from bytes: UnsafeRawBufferPointer) throws(SnapshotError) {
        let (end, overflow) = offset.addingReportingOverflow(UInt64(bytes.count))
        try check(overflow ? .max : end)
        if bytes.isEmpty { return }
        let result = fs_write(descriptor, bytes.baseAddress, bytes.count, Int64(offset))
        if result < 0 { throw failure(result, "write") }
    }

    /// Lets `write(at:from:through:)` go past the page cache from now on. False where the file system cannot.
    ///
    /// Call it before several threads write. Much of what is restored would otherwise push out what the machine works
    /// with, wait for the disk all the same, and cost the kernel more than opening it costs us.
    @discardableResult
    package func bypassPageCache() -> Bool {
        let direct = fs_open_direct(descriptor)
        guard direct >= 0 else { return false }
        directHandle.store(direct, ordering: .releasing)
        return true
    }

    /// As `write(at:from:)`; whole blocks go past the page cache where `bypassPageCache` has been called: from where they
    /// lie if they begin at a multiple of `blockBytes` in memory, else by way of a buffer of the pool.
    package func write(
        at offset: UInt64, from bytes: UnsafeRawBufferPointer, through pool: BufferPool
    ) throws(SnapshotError) {
        let (end, overflow) = offset.addingReportingOverflow(UInt64(bytes.count))
        try check(overflow ? .max : end)
        let firstBlock = (offset + Self.blockBytes - 1) / Self.blockBytes * Self.blockBytes
        let lastBlock = end / Self.blockBytes * Self.blockBytes
        guard firstBlock < lastBlock, directHandle.load(ordering: .acquiring) >= 0 else {
            return try write(at: offset, from: bytes)
        }
        try write(at: offset, from: bytes.part(0..<firstBlock - offset))
        let blocks = bytes.part(firstBlock - offset..<lastBlock - offset)
        if UInt(bitPattern: blocks.baseAddress) % UInt(Self.blockBytes) == 0 {
            try writeBlocks(at: firstBlock, blocks)
        } else {
            let buffer = pool.take()
            defer { pool.give(buffer) }
            var position = 0
            while position < blocks.count {
                let count = min(blocks.count - position, buffer.capacity / Int(Self.blockBytes) * Int(Self.blockBytes))
                let part = UnsafeMutableRawBufferPointer(rebasing: buffer.storage[..<count])
                part.copyMemory(from: UnsafeRawBufferPointer(rebasing: blocks[position..<position + count]))
                try writeBlocks(at: firstBlock + UInt64(position), UnsafeRawBufferPointer(part))
                position += count
            }
        }
        try write(at: lastBlock, from: bytes.part(lastBlock - offset..<UInt64(bytes.count)))
    }

    /// Writes whole blocks that begin at a multiple of their size, in memory too, past the page cache.
    private func writeBlocks(at offset: UInt64, _ blocks: UnsafeRawBufferPointer) throws(SnapshotError) {
        let direct = directHandle.load(ordering: .acquiring)
        let result =
            direct < 0
            ? -Errno.invalidArgument.rawValue
            : fs_write(direct, blocks.baseAddress, blocks.count, Int64(offset))
        if result == -Errno.invalidArgument.rawValue {
            // The file system has taken the flag and refuses the write, or takes other blocks only.
            try write(at: offset, from: blocks)
        } else if result < 0 {
            throw failure(result, "write")
        }
    }

    /// Reads from `offset` until `buffer` is full or the file ends, and answers how many bytes that were.
    package func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(SnapshotError) -> Int {
        let (end, overflow) = offset.addingReportingOverflow(UInt64(buffer.count))
        try check(overflow ? .max : end)
        let result = fs_read(descriptor, buffer.baseAddress, buffer.count, Int64(offset))
        if result < 0 { throw failure(CInt(result), "read back") }
        return Int(result)
    }

    /// Makes `range` zeros, as a hole where the file system can. The size stays; what lies behind it is left.
    ///
    /// False when zeros had to be written. Throws `.noSpace`.
    @discardableResult
    package func punchHole(_ range: Range<UInt64>) throws(SnapshotError) -> Bool {
        try check(range.upperBound)
        if range.isEmpty { return true }
        let result = fs_punch_hole(descriptor, Int64(range.lowerBound), Int64(range.count))
        if result == 0 { return true }
        guard Self.isUnsupported(result) else { throw failure(result, "make a hole in") }
        let end = min(range.upperBound, try size())
        let zeros = [UInt8](repeating: 0, count: 64 << 10)
        var position = range.lowerBound
        while position < end {
            let count = Int(min(UInt64(zeros.count), end - position))
            let written = zeros.withUnsafeBytes {
                fs_write(descriptor, $0.baseAddress, count, Int64(position))
            }
            if written < 0 { throw failure(written, "write zeros to") }
            position += UInt64(count)
        }
        return false
    }

    /// Waits until everything written is on the disk. Some file systems report a full disk only here (NFS).
    package func synchronize() throws(SnapshotError) {
        let result = fs_synchronize(descriptor)
        if result < 0 { throw failure(result, "write to the disk") }
    }

    /// Closes the file and tells what the file system only says then. Using it afterwards throws; closing twice is
    /// harmless. No other call may be under way.
    package func close() throws(SnapshotError) {
        let descriptor = handle.exchange(-1, ordering: .acquiringAndReleasing)
        guard descriptor >= 0 else { return }
        closeDirect()
        let result = fs_close(descriptor)
        if result < 0 { throw failure(result, "finish writing") }
    }

    private static func refusal(_ found: String, _ path: [UInt8], _ errno: Errno?) -> SnapshotError {
        SnapshotError(
            .refusedPath, "refused to write into \(PathText.display(path)): it is \(found); remove it first",
            path: path, cause: errno)
    }

    /// EOPNOTSUPP, ENOSYS, and EINVAL of file systems that do not know the mode (fallocate(2)).
    private static func isUnsupported(_ result: CInt) -> Bool {
        let errno = Errno(rawValue: -result)
        return errno == .notSupported || errno == .noFunction || errno == .invalidArgument
    }

    /// Offsets of files are signed 64-bit numbers.
    private func check(_ end: UInt64) throws(SnapshotError) {
        if end > UInt64(Int64.max) { throw failure(-Errno.fileTooLarge.rawValue, "write") }
    }

    private func failure(
        _ result: CInt, _ operation: String, fileID: String = #fileID, line: UInt32 = #line
    ) -> SnapshotError {
        .system(Errno(rawValue: -result), operation, path, side: .target, fileID: fileID, line: line)
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func part(_ range: Range<UInt64>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[Int(range.lowerBound)..<Int(range.upperBound)])
    }
}
