package import SystemPackage

/// Something about one file that could not be restored though its content could. The caller knows the path.
package struct RestoreRemark: Hashable, Sendable, CustomStringConvertible {
    /// What is not as it was.
    package enum Kind: String, Sendable, CaseIterable {
        case owner
        case permissions
        case extendedAttribute
        case modificationTime
        /// A FIFO, device or socket was not created.
        case specialFile
        case symbolicLink
        case hardLink
        /// The entry is not of the expected type any more: nothing was applied to it.
        case replaced

        fileprivate var text: String {
            switch self {
            case .owner: "owner"
            case .permissions: "permissions"
            case .extendedAttribute: "extended attribute"
            case .modificationTime: "modification time"
            case .specialFile: "special file"
            case .symbolicLink: "symbolic link"
            case .hardLink: "hard link"
            case .replaced: "metadata"
            }
        }
    }

    package var kind: Kind
    /// What was not done, without the path.
    package var detail: String
    /// What the system answered, where it was asked.
    package var errno: Errno?

    init(_ kind: Kind, _ detail: String, errno: Errno? = nil) {
        self.kind = kind
        self.detail = detail
        self.errno = errno
    }

    /// `owner: 0:0 not set: Operation not permitted`.
    package var description: String {
        "\(kind.text): \(detail)" + (errno.map { ": \($0)" } ?? "")
    }
}
