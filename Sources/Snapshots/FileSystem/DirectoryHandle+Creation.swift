internal import CFileSystemShims
package import RepositoryFormat
internal import SystemPackage

/// Making and removing entries while restoring. No member follows a symbolic link or replaces what is there.
extension DirectoryHandle {
    /// Makes the directory `name`, mode 0700 until its metadata is applied. False when something of that name is there.
    package func makeDirectory(name: [UInt8]) throws(SnapshotError) -> Bool {
        let result = try call(name) { fs_make_directory_at(descriptor, $0, 0o700) }
        if result == 0 { return true }
        let errno = Errno(rawValue: -result)
        if errno == .fileExists { return false }
        throw failure(errno, "create the directory", name)
    }

    /// Makes the symbolic link `name` to `target`, which is stored as it is and never looked at.
    ///
    /// A remark when the file system has no symbolic links. Throws `.alreadyExists`; `.damaged` for a target that no
    /// link can have.
    package func makeSymbolicLink(name: [UInt8], target: [UInt8]) throws(SnapshotError) -> RestoreRemark? {
        guard !target.isEmpty, !target.contains(0) else {
            throw SnapshotError(
                .damaged,
                "cannot restore the symbolic link \(PathText.display(path(of: name))): its recorded target is "
                    + (target.isEmpty ? "empty" : "not possible (NUL byte)"), path: path(of: name))
        }
        let result = try call(name) { terminated in
            EntryName.withTerminated(target) { fs_make_symbolic_link_at(descriptor, terminated, $0) }
        }
        return try remark(result, .symbolicLink, "create the symbolic link", name)
    }

    /// Makes the FIFO, device or socket `name` that `metadata` describes, mode 0600 until its metadata is applied.
    ///
    /// A remark when this process may not (devices need CAP_MKNOD), or the file system has no such thing. Throws
    /// `.alreadyExists`; `.invalidArgument` when `metadata` describes none of these.
    package func makeSpecialFile(name: [UInt8], metadata: FileMetadata) throws(SnapshotError) -> RestoreRemark? {
        switch metadata.type {
        case .fifo, .socket, .characterDevice, .blockDevice: break
        case .regular, .directory, .symbolicLink:
            throw SnapshotError(
                .invalidArgument, "\(PathText.display(path(of: name))) is \(metadata.type.text) and no special file",
                path: path(of: name))
        }
        let result = try call(name) {
            fs_make_node_at(descriptor, $0, metadata.type.modeBits | 0o600, metadata.deviceNumber)
        }
        return try remark(result, .specialFile, "create \(metadata.type.text) as", name)
    }

    /// Makes `name` another name of the entry `existing` of `directory`.
    ///
    /// A remark when the file system has no hard links, cannot link across what lies between, or the file has as many
    /// as it can: the caller may restore a copy instead. Throws `.alreadyExists`, `.targetMissing`.
    package func makeHardLink(
        name: [UInt8], to existing: [UInt8], in directory: DirectoryHandle
    ) throws(SnapshotError) -> RestoreRemark? {
        try EntryName.validate(existing, in: directory.path)
        let result = try call(name) { terminated in
            EntryName.withTerminated(existing) {
                fs_make_hard_link_at(directory.descriptor, $0, descriptor, terminated)
            }
        }
        return try remark(result, .hardLink, "create the hard link", name)
    }

    /// Type of the entry `name`; nil when there is none.
    package func type(of name: [UInt8]) throws(SnapshotError) -> RepositoryFormat.FileType? {
        var status = fs_status()
        let result = try call(name) { fs_status_at(descriptor, $0, &status) }
        if result == 0 { return status.type }
        let errno = Errno(rawValue: -result)
        if errno == .noSuchFileOrDirectory { return nil }
        throw failure(errno, "look at", name)
    }

    /// Removes the entry `name`, which must not be a directory. False when there was none.
    @discardableResult
    package func remove(name: [UInt8]) throws(SnapshotError) -> Bool {
        let result = try call(name) { fs_remove_at(descriptor, $0) }
        return try removed(result, name)
    }

    /// Removes the empty directory `name`. False when there was none. Throws `.targetNotEmpty`.
    @discardableResult
    package func removeDirectory(name: [UInt8]) throws(SnapshotError) -> Bool {
        let result = try call(name) { fs_remove_directory_at(descriptor, $0) }
        return try removed(result, name)
    }

    /// Gives the entry `name` the name `newName`, replacing a file of that name in one step.
    package func rename(_ name: [UInt8], to newName: [UInt8]) throws(SnapshotError) {
        try EntryName.validate(newName, in: path)
        let result = try call(name) { terminated in
            EntryName.withTerminated(newName) { fs_rename_at(descriptor, terminated, descriptor, $0) }
        }
        if result < 0 { throw failure(Errno(rawValue: -result), "put in place", newName) }
    }

    /// Waits until everything written to the file system that this directory is on has reached the disk.
    package func synchronizeFileSystem() throws(SnapshotError) {
        let result = fs_synchronize_file_system(descriptor)
        if result < 0 { throw failure(Errno(rawValue: -result), "write out the file system of", nil) }
    }

    /// Waits until the entries of this directory are on the disk.
    package func synchronize() throws(SnapshotError) {
        let result = fs_synchronize(descriptor)
        // EINVAL: the file system has nothing to wait for (fsync(2)).
        if result < 0, result != -Errno.invalidArgument.rawValue {
            throw failure(Errno(rawValue: -result), "write to the disk", nil)
        }
    }

    private func removed(_ result: CInt, _ name: [UInt8]) throws(SnapshotError) -> Bool {
        if result == 0 { return true }
        let errno = Errno(rawValue: -result)
        if errno == .noSuchFileOrDirectory { return false }
        throw failure(errno, "remove", name)
    }

    /// Nil for success, a remark for what this file system or user cannot do, an error for the rest.
    private func remark(
        _ result: CInt, _ kind: RestoreRemark.Kind, _ operation: String, _ name: [UInt8]
    ) throws(SnapshotError) -> RestoreRemark? {
        if result == 0 { return nil }
        let errno = Errno(rawValue: -result)
        switch errno {
        case .notPermitted, .notSupported, .noFunction, .invalidArgument, .improperLink, .tooManyLinks,
            .noSuchAddressOrDevice:
            return RestoreRemark(kind, "not created", errno: errno)
        default: throw failure(errno, operation, name)
        }
    }
}
