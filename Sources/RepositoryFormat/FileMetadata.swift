package import Basics

/// What a directory entry is.
package enum FileType: UInt8, Sendable, CaseIterable {
    case regular = 1
    case directory = 2
    case symbolicLink = 3
    case fifo = 4
    case characterDevice = 5
    case blockDevice = 6
    case socket = 7
}

/// An extended attribute as the kernel gives it: POSIX ACLs (`system.posix_acl_*`) and capabilities
/// (`security.capability`) are among them.
package struct ExtendedAttribute: Hashable, Sendable {
    /// With its namespace: `user.comment`. Bytes, for nothing says it is UTF-8.
    package var name: [UInt8]
    package var value: [UInt8]

    package init(name: [UInt8], value: [UInt8]) {
        self.name = name
        self.value = value
    }
}

/// Everything about a file but its name and its content.
package struct FileMetadata: Hashable, Sendable {
    package var type: FileType
    /// The low twelve bits of `st_mode`: permissions, set-id and sticky.
    package var permissions: UInt16
    package var userID: UInt32
    package var groupID: UInt32
    /// Empty when the system has no name for the id.
    package var userName: String
    package var groupName: String
    /// Last change of the content.
    package var modified: Timestamp
    /// Last change of the inode; for noticing changes, never restored.
    package var changed: Timestamp
    /// For noticing changes and grouping hard links.
    package var inode: UInt64
    /// The file system's device number; for noticing changes and mount points.
    package var device: UInt64
    package var linkCount: UInt64
    /// Bytes of content of a regular file, else 0.
    package var size: UInt64
    /// Major and minor number of a device file as `st_rdev` packs them; of a regular file that stands for all bytes of a
    /// block device, that device's, or `imageDeviceNumber` (`isDeviceContent`); else 0.
    package var deviceNumber: UInt64
    /// Target of a symbolic link, raw; else empty.
    package var linkTarget: [UInt8]
    /// Sorted by name.
    package var extendedAttributes: [ExtendedAttribute]

    package init(
        type: FileType, permissions: UInt16, userID: UInt32 = 0, groupID: UInt32 = 0, userName: String = "",
        groupName: String = "", modified: Timestamp = Timestamp(nanoseconds: 0),
        changed: Timestamp = Timestamp(nanoseconds: 0), inode: UInt64 = 0, device: UInt64 = 0, linkCount: UInt64 = 1,
        size: UInt64 = 0, deviceNumber: UInt64 = 0, linkTarget: [UInt8] = [],
        extendedAttributes: [ExtendedAttribute] = []
    ) {
        self.type = type
        self.permissions = permissions
        self.userID = userID
        self.groupID = groupID
        self.userName = userName
        self.groupName = groupName
        self.modified = modified
        self.changed = changed
        self.inode = inode
        self.device = device
        self.linkCount = linkCount
        self.size = size
        self.deviceNumber = deviceNumber
        self.linkTarget = linkTarget
        self.extendedAttributes = extendedAttributes
    }

    /// Stands in a file that was read as the image of a device, for the number of that: no block device has it (major 0, which
    /// Linux gives to what has no device).
    package static let imageDeviceNumber: UInt64 = 1

    /// Whether it is a regular file that holds what was on a block device, `size` bytes long, or the image of one.
    package var isDeviceContent: Bool { type == .regular && deviceNumber != 0 }
}
