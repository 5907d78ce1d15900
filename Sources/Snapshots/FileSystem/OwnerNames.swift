internal import SystemPackage

/// Names of users and groups and their ids, as `/etc/passwd` and `/etc/group` say.
///
/// Read once, when made, and never changed. The name service switch is not asked (LDAP, systemd): it would load shared
/// libraries, which a static executable cannot. Ids from elsewhere have no name here and are kept as numbers. As with
/// getpwuid(3), the first line for an id or a name wins. A file that is missing or cannot be read names nobody.
package final class OwnerNames: Sendable {
    private struct Table: Sendable {
        var names: [UInt32: String] = [:]
        var ids: [String: UInt32] = [:]

        /// Reads `name:password:id:…` lines (passwd(5), group(5)); other lines and names that are not UTF-8 are skipped.
        init(_ text: [UInt8]) {
            for line in text.split(separator: UInt8(ascii: "\n")) {
                let fields = line.split(
                    separator: UInt8(ascii: ":"), maxSplits: 3, omittingEmptySubsequences: false)
                guard fields.count >= 3, let name = String(validating: fields[0], as: UTF8.self), !name.isEmpty,
                    let digits = String(validating: fields[2], as: UTF8.self), let id = UInt32(digits)
                else { continue }
                if names[id] == nil { names[id] = name }
                if ids[name] == nil { ids[name] = id }
            }
        }
    }

    private let users: Table
    private let groups: Table

    /// Reads the two files. Blocks for a moment.
    package convenience init(usersPath: String = "/etc/passwd", groupsPath: String = "/etc/group") {
        self.init(users: Self.read(usersPath), groups: Self.read(groupsPath))
    }

    /// The contents of the two files.
    package init(users: [UInt8], groups: [UInt8]) {
        self.users = Table(users)
        self.groups = Table(groups)
    }

    /// Name of the user, empty when there is none.
    package func userName(_ id: UInt32) -> String { users.names[id] ?? "" }
    /// Name of the group, empty when there is none.
    package func groupName(_ id: UInt32) -> String { groups.names[id] ?? "" }
    /// Id of the user called `name` on this machine.
    package func userID(named name: String) -> UInt32? { users.ids[name] }
    /// Id of the group called `name` on this machine.
    package func groupID(named name: String) -> UInt32? { groups.ids[name] }

    /// No account file is larger; what lies behind is not read.
    private static let maximumBytes = 64 << 20

    private static func read(_ path: String) -> [UInt8] {
        guard let file = try? FileDescriptor.open(FilePath(path), .readOnly) else { return [] }
        defer { try? file.close() }
        var text: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 64 << 10)
        while text.count < maximumBytes,
            let count = try? block.withUnsafeMutableBytes({ try file.read(into: $0) }), count > 0
        {
            text += block[..<count]
        }
        return text
    }
}
