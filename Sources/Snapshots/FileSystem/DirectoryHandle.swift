internal import CFileSystemShims
package import RepositoryFormat
internal import Synchronization
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// An open directory: everything below it is reached by one name at a time, and no symbolic link is ever followed.
///
/// Owns its descriptor until the last reference goes. Any thread may use it, several at once. All members block, so they
/// do not belong on the cooperative pool. Depth is not limited by PATH_MAX: no call passes more than one name.
package final class DirectoryHandle: Sendable {
    let descriptor: CInt
    /// The path it was reached by, raw; for messages only.
    package let path: [UInt8]
    /// What it is for; decides what errors mean.
    let side: SnapshotError.Side
    /// Listing moves the descriptor's position: one at a time.
    private let listing = Mutex(())

    /// Takes `descriptor` over.
    init(owning descriptor: CInt, path: [UInt8], side: SnapshotError.Side) {
        self.descriptor = descriptor
        self.path = path
        self.side = side
    }

    deinit { _ = fs_close(descriptor) }

    /// Opens the directory at `path` for reading a tree. The path is the user's own: symbolic links in it are followed.
    ///
    /// Throws `.sourceMissing`, `.notADirectory`, `.permissionDenied`, `.invalidArgument` for an empty path or a NUL.
    package static func open(path: [UInt8]) throws(SnapshotError) -> DirectoryHandle {
        try open(path: path, side: .source)
    }

    static func open(path: [UInt8], side: SnapshotError.Side) throws(SnapshotError) -> DirectoryHandle {
        guard !path.isEmpty, !path.contains(0) else {
            throw SnapshotError(
                .invalidArgument, "\"\(PathText.display(path))\" is no path; name a directory", path: path)
        }
        let descriptor = EntryName.withTerminated(path) { fs_open_directory($0) }
        guard descriptor >= 0 else {
            throw .system(Errno(rawValue: -descriptor), "open the directory", path, side: side)
        }
        return DirectoryHandle(owning: descriptor, path: path, side: side)
    }

    /// The path of an entry, for messages.
    package func path(of name: [UInt8]) -> [UInt8] { EntryName.join(path, name) }

    /// Opens the directory called `name` in this one. A symbolic link is refused (`.refusedPath` when restoring,
    /// `.notADirectory` when reading), whatever it points to.
    package func openDirectory(name: [UInt8]) throws(SnapshotError) -> DirectoryHandle {
        let result = try call(name) { fs_open_directory_at(descriptor, $0) }
        if result >= 0 { return DirectoryHandle(owning: CInt(result), path: path(of: name), side: side) }
        let errno = Errno(rawValue: CInt(-result))
        if errno == .notDirectory || errno == .tooManySymbolicLinkLevels {
            let found = try status(of: name).type?.text ?? "something unknown"
            throw SnapshotError(
                side == .target ? .refusedPath : .notADirectory,
                "refused \(PathText.display(path(of: name))): a directory was expected, but it is \(found); "
                    + (side == .target ? "move it out of the way" : "it was replaced while being read"),
                path: path(of: name), cause: errno)
        }
        throw failure(errno, "open the directory", name)
    }

    /// Names of all entries but `.` and `..`, sorted by their bytes, each once.
    ///
    /// Memory grows with the number of entries. An entry made or removed meanwhile may or may not be among them.
    package func names() throws(SnapshotError) -> [[UInt8]] {
        var text: [UInt8] = []
        var ranges: [Range<Int>] = []
        let errno = listing.withLock { _ in readNames(into: &text, &ranges) }
        if let errno { throw failure(errno, "list", nil) }
        return text.withUnsafeBytes { bytes in
            ranges.sort { Self.compare(bytes, $0, $1) < 0 }
            var names: [[UInt8]] = []
            names.reserveCapacity(ranges.count)
            for (index, range) in ranges.enumerated()
            where index == 0 || Self.compare(bytes, ranges[index - 1], range) != 0 {
                names.append(Array(bytes[range]))
            }
            return names
        }
    }

    /// Everything about the entry `name`, itself and not what it may point to, without its content.
    ///
    /// A file without extended attributes costs two system calls. Throws `.sourceMissing` when there is no such entry,
    /// `.changedWhileRead` when it became another meanwhile; `.permissionDenied` also when an attribute may not be read.
    package func metadata(
        of name: [UInt8], owners: OwnerNames, includingExtendedAttributes: Bool
    ) throws(SnapshotError) -> FileMetadata {
        let status = try status(of: name)
        guard var metadata = status.metadata(owners: owners) else { throw unknownType(status, name) }
        if metadata.type == .symbolicLink { metadata.linkTarget = try linkTarget(of: name) }
        if includingExtendedAttributes { metadata.extendedAttributes = try attributes(of: name) }
        return metadata
    }

    /// Everything about this directory itself.
    package func ownMetadata(
        owners: OwnerNames, includingExtendedAttributes: Bool
    ) throws(SnapshotError) -> FileMetadata {
        let status = try ownStatus()
        guard var metadata = status.metadata(owners: owners) else { throw unknownType(status, nil) }
        if includingExtendedAttributes {
            do {
                metadata.extendedAttributes = try ExtendedAttributes.read(descriptor, nil)
            } catch {
                throw failure(error, "read the extended attributes of", nil)
            }
        }
        return metadata
    }

    /// Opens the regular file `name` for reading: never through a symbolic link, never waiting for a FIFO's writer.
    ///
    /// Throws `.changedWhileRead` when it is no regular file (any more).
    package func openFile(name: [UInt8]) throws(SnapshotError) -> FileReader {
        let result = try call(name) { fs_open_reading_at(descriptor, $0) }
        guard result >= 0 else {
            let errno = Errno(rawValue: CInt(-result))
            // A symbolic link answers ELOOP, a socket ENXIO (open(2)).
            guard errno == .tooManySymbolicLinkLevels || errno == .noSuchAddressOrDevice else {
                throw failure(errno, "open", name)
            }
            throw try FileReader.notRegular(status(of: name).type, path(of: name))
        }
        return try FileReader(owning: CInt(result), path: path(of: name))
    }
}

// What the other parts of the file layer are made of.
extension DirectoryHandle {
    /// Checks `name` and calls `body` with it.
    func call(_ name: [UInt8], _ body: (UnsafePointer<CChar>) -> CInt) throws(SnapshotError) -> CInt {
        try EntryName.validate(name, in: path)
        return EntryName.withTerminated(name, body)
    }

    /// What stat(2) says of the entry `name` itself.
    func status(of name: [UInt8]) throws(SnapshotError) -> fs_status {
        var status = fs_status()
        let result = try call(name) { fs_status_at(descriptor, $0, &status) }
        if result < 0 { throw failure(Errno(rawValue: -result), "look at", name) }
        return status
    }

    /// What stat(2) says of the directory itself.
    func ownStatus() throws(SnapshotError) -> fs_status {
        var status = fs_status()
        let result = fs_status_of(descriptor, &status)
        if result < 0 { throw failure(Errno(rawValue: -result), "look at", nil) }
        return status
    }

    /// The error for a call on the entry `name`, or on the directory itself.
    func failure(
        _ errno: Errno, _ operation: String, _ name: [UInt8]?, fileID: String = #fileID, line: UInt32 = #line
    ) -> SnapshotError {
        .system(errno, operation, name.map(path(of:)) ?? path, side: side, fileID: fileID, line: line)
    }

    private func unknownType(_ status: fs_status, _ name: [UInt8]?) -> SnapshotError {
        let place = name.map(path(of:)) ?? path
        return SnapshotError(
            .sourceUnreadable,
            "cannot back up \(PathText.display(place)): type \(status.mode & fs_status.typeMask) is unknown",
            path: place)
    }

    /// Longest target that Linux keeps, with its NUL (PATH_MAX, limits.h).
    private static var maximumTargetBytes: Int { 4096 }

    private func linkTarget(of name: [UInt8]) throws(SnapshotError) -> [UInt8] {
        try EntryName.validate(name, in: path)
        let (count, target) = EntryName.withTerminated(name) { terminated in
            withUnsafeTemporaryAllocation(byteCount: Self.maximumTargetBytes, alignment: 1) { buffer in
                let count = fs_read_link_at(descriptor, terminated, buffer.baseAddress, buffer.count)
                return (count, count > 0 ? Array(buffer[..<Int(count)]) : [])
            }
        }
        if count > 0, count < Self.maximumTargetBytes { return target }
        // EINVAL: it is no symbolic link any more (readlink(2)).
        if count == -Int64(Errno.invalidArgument.rawValue) {
            throw SnapshotError(
                .changedWhileRead, "\(PathText.display(path(of: name))) was replaced while it was read; run again",
                path: path(of: name))
        }
        let errno = count < 0 ? Errno(rawValue: CInt(-count)) : .ioError
        throw failure(errno, "read the target of", name)
    }

    private func attributes(of name: [UInt8]) throws(SnapshotError) -> [ExtendedAttribute] {
        let result = EntryName.withTerminated(name) { terminated -> Result<[ExtendedAttribute], Errno> in
            do throws(Errno) {
                return .success(try ExtendedAttributes.read(descriptor, terminated))
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let attributes): return attributes
        case .failure(let errno):
            if errno == .noSuchFileOrDirectory || errno == .notDirectory, fs_proc_is_usable() != 0 {
                throw SnapshotError(
                    .failed,
                    "cannot read extended attributes of \(PathText.display(path(of: name))): /proc is not there; "
                        + "mount it, or leave extended attributes out", path: path(of: name), cause: errno)
            }
            throw failure(errno, "read the extended attributes of", name)
        }
    }

    /// Appends all names to `text`, each name's place to `ranges`. Answers the errno of a call that failed.
    private func readNames(into text: inout [UInt8], _ ranges: inout [Range<Int>]) -> Errno? {
        let rewound = fs_rewind(descriptor)
        if rewound < 0 { return Errno(rawValue: -rewound) }
        return withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 8) { buffer -> Errno? in
            while true {
                let count = fs_list(descriptor, buffer.baseAddress, buffer.count)
                if count < 0 { return Errno(rawValue: CInt(-count)) }
                if count == 0 { return nil }
                Self.parse(UnsafeRawBufferPointer(buffer)[..<Int(count)], &text, &ranges)
            }
        }
    }

    /// Takes the names out of `struct linux_dirent64` records (getdents(2)): inode 8, offset 8, record length 2, type 1,
    /// then the name, ended by a NUL.
    private static func parse(
        _ records: Slice<UnsafeRawBufferPointer>, _ text: inout [UInt8], _ ranges: inout [Range<Int>]
    ) {
        var position = records.startIndex
        while position + 19 <= records.endIndex {
            let length = Int(records.base.loadUnaligned(fromByteOffset: position + 16, as: UInt16.self))
            let end = position + length
            guard length > 19, end <= records.endIndex else { return }
            var last = position + 19
            while last < end, records.base[last] != 0 { last += 1 }
            let name = records.base[(position + 19)..<last]
            position = end
            if name.elementsEqual(".".utf8) || name.elementsEqual("..".utf8) { continue }
            let start = text.count
            text.append(contentsOf: name)
            ranges.append(start..<text.count)
        }
    }

    private static func compare(_ bytes: UnsafeRawBufferPointer, _ left: Range<Int>, _ right: Range<Int>) -> Int {
        guard let base = bytes.baseAddress else { return 0 }
        let order = memcmp(base + left.lowerBound, base + right.lowerBound, min(left.count, right.count))
        return order != 0 ? Int(order) : left.count - right.count
    }
}
