internal import CFileSystemShims
package import RepositoryFormat
internal import SystemPackage

/// Gives restored files their recorded metadata, once their content is complete.
///
/// The order is the one that loses nothing: owner (which clears set-id bits and capabilities), plain attributes (which
/// need the write permission that the recorded mode may lack), permissions, ACLs, capabilities, modification time.
/// Directories come last, after everything below them. What cannot be applied becomes a remark and is no error. Access
/// and change times are not restored. Any thread may use it; all members block.
package struct MetadataWriter: Sendable {
    /// How owners are found.
    package enum Ownership: Sendable {
        /// The recorded name's id on this machine, the recorded id where there is no such name.
        case byName
        /// The recorded id.
        case byID
        /// Everything belongs to whoever restores.
        case unchanged
    }

    let owners: OwnerNames
    private let ownership: Ownership
    private let attributes: Bool

    /// A writer that looks names up in `owners`; without `includingExtendedAttributes`, files keep those they have.
    package init(owners: OwnerNames, ownership: Ownership = .byName, includingExtendedAttributes: Bool = true) {
        self.owners = owners
        self.ownership = ownership
        attributes = includingExtendedAttributes
    }

    /// Applies `metadata` to the entry `name` of `directory`: itself, never what it points to.
    ///
    /// The entry is held while this goes on, so it cannot be exchanged in between; when it is not of the recorded type
    /// nothing is applied. For a file just written, `apply(_:to:)` is surer and cheaper. Needs /proc for permissions and
    /// attributes.
    package func apply(
        _ metadata: FileMetadata, to name: [UInt8], in directory: DirectoryHandle
    ) -> [RestoreRemark] {
        if let problem = EntryName.problem(name) { return [RestoreRemark(.replaced, "not applied: \(problem)")] }
        let descriptor = EntryName.withTerminated(name) { fs_open_entry_at(directory.descriptor, $0) }
        guard descriptor >= 0 else {
            return [RestoreRemark(.replaced, "not applied", errno: Errno(rawValue: -descriptor))]
        }
        defer { _ = fs_close(descriptor) }
        return apply(metadata, descriptor)
    }

    /// Applies `metadata` to a file that is still open, after the last write to it.
    package func apply(_ metadata: FileMetadata, to file: FileWriter) -> [RestoreRemark] {
        apply(metadata, file.descriptor)
    }

    /// Applies `metadata` to `directory` itself, after everything in it is complete.
    package func apply(_ metadata: FileMetadata, to directory: DirectoryHandle) -> [RestoreRemark] {
        apply(metadata, directory.descriptor)
    }

    private func apply(_ metadata: FileMetadata, _ descriptor: CInt) -> [RestoreRemark] {
        var status = fs_status()
        let looked = fs_status_of(descriptor, &status)
        guard looked == 0 else { return [RestoreRemark(.replaced, "not applied", errno: Errno(rawValue: -looked))] }
        guard status.type == metadata.type else {
            let found = status.type?.text ?? "something unknown"
            return [RestoreRemark(.replaced, "not applied: expected \(metadata.type.text), found \(found)")]
        }
        var remarks: [RestoreRemark] = []
        let owner = applyOwner(metadata, descriptor, status, &remarks)
        let attributes = AttributeWriter(descriptor: descriptor, wanted: metadata.extendedAttributes)
        if self.attributes { attributes.applyPlain(&remarks) }
        if metadata.type != .symbolicLink { applyPermissions(metadata, descriptor, owner, &remarks) }
        if self.attributes { attributes.applyAccess(&remarks) }
        let time = metadata.modified.systemTime
        let result = fs_change_modified(descriptor, time.seconds, time.nanoseconds)
        if result < 0 { remarks.append(RestoreRemark(.modificationTime, "not set", errno: Errno(rawValue: -result))) }
        return remarks
    }

    /// Which of the recorded owner's two halves the file has in the end.
    private struct Owned {
        var user: Bool
        var group: Bool
    }

    private func applyOwner(
        _ metadata: FileMetadata, _ descriptor: CInt, _ status: fs_status, _ remarks: inout [RestoreRemark]
    ) -> Owned {
        var user = metadata.userID
        var group = metadata.groupID
        if ownership == .byName {
            user = metadata.userName.isEmpty ? user : owners.userID(named: metadata.userName) ?? user
            group = metadata.groupName.isEmpty ? group : owners.groupID(named: metadata.groupName) ?? group
        }
        var owned = Owned(user: status.user_id == user, group: status.group_id == group)
        if ownership == .unchanged || (owned.user && owned.group) { return owned }
        let unchanged = UInt32.max
        guard user != unchanged, group != unchanged else {
            remarks.append(RestoreRemark(.owner, "\(user):\(group) not set: no such id is possible"))
            return owned
        }
        var result = fs_change_owner(descriptor, user, group)
        if result == 0 { return Owned(user: true, group: true) }
        // An owner without privilege may still choose among the groups it is in (chown(2)).
        if !owned.group { owned.group = fs_change_owner(descriptor, unchanged, group) == 0 }
        if owned.user, owned.group { result = 0 }
        if result < 0 {
            let wanted = owned.group ? "user \(user)" : owned.user ? "group \(group)" : "\(user):\(group)"
            remarks.append(RestoreRemark(.owner, "\(wanted) not set", errno: Errno(rawValue: -result)))
        }
        return owned
    }

    /// Set-id bits are for the recorded owner: with another they would lend somebody else's rights, so they stay off.
    private func applyPermissions(
        _ metadata: FileMetadata, _ descriptor: CInt, _ owned: Owned, _ remarks: inout [RestoreRemark]
    ) {
        let setUser: UInt32 = 0o4000
        let setGroup: UInt32 = 0o2000
        var mode = UInt32(metadata.permissions) & 0o7777
        if metadata.type == .regular {
            if !owned.user { mode &= ~setUser }
            if !owned.group { mode &= ~setGroup }
            if mode != UInt32(metadata.permissions) & 0o7777 {
                remarks.append(RestoreRemark(.permissions, "set-id bits left off, for the owner is another"))
            }
        }
        let result = fs_change_mode(descriptor, mode)
        if result < 0 {
            remarks.append(
                RestoreRemark(.permissions, "\(String(mode, radix: 8)) not set", errno: Errno(rawValue: -result)))
            return
        }
        // The kernel clears set-group-id without a word when the caller is not in the group (chmod(2)).
        var status = fs_status()
        if mode & setGroup != 0, fs_status_of(descriptor, &status) == 0, status.mode & setGroup == 0 {
            remarks.append(RestoreRemark(.permissions, "set-group-id not set, for the group is not ours"))
        }
    }
}
