internal import Basics
internal import CFileSystemShims
internal import RepositoryFormat

extension fs_status {
    /// Bits of `st_mode` that say what the entry is (S_IFMT, inode(7)).
    static var typeMask: UInt32 { 0o170000 }

    /// What the entry is; nil for what inode(7) does not know.
    var type: FileType? {
        switch mode & Self.typeMask {
        case 0o100000: .regular
        case 0o040000: .directory
        case 0o120000: .symbolicLink
        case 0o010000: .fifo
        case 0o020000: .characterDevice
        case 0o060000: .blockDevice
        case 0o140000: .socket
        default: nil
        }
    }

    var modified: Timestamp { Timestamp(clampedSeconds: modified_seconds, nanoseconds: modified_nanoseconds) }
    var changed: Timestamp { Timestamp(clampedSeconds: changed_seconds, nanoseconds: changed_nanoseconds) }

    /// Everything but the link's target and the attributes; nil for an unknown type.
    func metadata(owners: OwnerNames?) -> FileMetadata? {
        guard let type else { return nil }
        let isDevice = type == .characterDevice || type == .blockDevice
        return FileMetadata(
            type: type, permissions: UInt16(mode & 0o7777), userID: user_id, groupID: group_id,
            userName: owners?.userName(user_id) ?? "", groupName: owners?.groupName(group_id) ?? "",
            modified: modified, changed: changed, inode: inode, device: device, linkCount: link_count,
            size: type == .regular ? size : 0, deviceNumber: isDevice ? device_number : 0)
    }
}

extension FileType {
    /// The type's bits in `st_mode` (inode(7)).
    var modeBits: UInt32 {
        switch self {
        case .regular: 0o100000
        case .directory: 0o040000
        case .symbolicLink: 0o120000
        case .fifo: 0o010000
        case .characterDevice: 0o020000
        case .blockDevice: 0o060000
        case .socket: 0o140000
        }
    }

    /// For messages: "a regular file".
    var text: String {
        switch self {
        case .regular: "a regular file"
        case .directory: "a directory"
        case .symbolicLink: "a symbolic link"
        case .fifo: "a FIFO"
        case .characterDevice: "a character device"
        case .blockDevice: "a block device"
        case .socket: "a socket"
        }
    }
}

extension Timestamp {
    /// A file system's time; what lies outside 1678 to 2262 becomes the nearest end, for file systems take any number.
    init(clampedSeconds seconds: Int64, nanoseconds fraction: Int64) {
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, carry) = product.addingReportingOverflow(fraction)
        self.init(nanoseconds: overflow || carry ? (seconds < 0 ? .min : .max) : sum)
    }

    /// As the system takes it: whole seconds rounded down and the nanoseconds (0 to 999 999 999) behind them.
    var systemTime: (seconds: Int64, nanoseconds: Int64) {
        let (quotient, remainder) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        return remainder < 0 ? (quotient - 1, remainder + 1_000_000_000) : (quotient, remainder)
    }
}
