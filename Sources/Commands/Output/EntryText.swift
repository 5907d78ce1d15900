internal import Basics
internal import RepositoryFormat
internal import Snapshots

/// An entry of a snapshot in a list, for programs and for people.
enum EntryText {
    /// The members of the object of type `entry`.
    static func members(_ path: [[UInt8]], _ entry: TreeEntry) -> [JSONValue.Member] {
        let metadata = entry.metadata
        var members: [JSONValue.Member] = [
            .init("path", .string(text(path))), .init("entry_type", .string(HashManifest.name(metadata.type))),
            .init("mode", .string(HashManifest.octal(metadata.permissions))),
            .init("uid", .unsigned(UInt64(metadata.userID))), .init("gid", .unsigned(UInt64(metadata.groupID))),
            .init("user", .string(metadata.userName)), .init("group", .string(metadata.groupName)),
            .init("modified", .string(CalendarTime(metadata.modified).text)),
        ]
        switch metadata.type {
        case .regular:
            members.append(.init("size", .unsigned(metadata.size)))
            members.append(.init("sha256", .optional(entry.fileDigest.map { "\($0)" })))
            if metadata.isDeviceContent { members.append(.init("is_device", .bool(true))) }
        case .directory: members.append(.init("content_digest", .optional(entry.treeDigest.map { "\($0)" })))
        case .symbolicLink: members.append(.init("target", .string(PathText.display(metadata.linkTarget))))
        default: break
        }
        return members
    }

    /// As `ls -l` does it: type and mode, owner, group, size, time, path.
    static func line(_ path: [[UInt8]], _ entry: TreeEntry) -> String {
        let metadata = entry.metadata
        let owner = metadata.userName.isEmpty ? "\(metadata.userID)" : Console.oneLine(metadata.userName)
        let group = metadata.groupName.isEmpty ? "\(metadata.groupID)" : Console.oneLine(metadata.groupName)
        var target = metadata.type == .symbolicLink ? " -> \(PathText.display(metadata.linkTarget))" : ""
        if metadata.isDeviceContent { target = " (all of a block device)" }
        return [
            mode(metadata), pad(owner, 8), pad(group, 8), pad("\(metadata.size)", 12, isRight: true),
            Format.time(metadata.modified), text(path) + target,
        ].joined(separator: " ")
    }

    /// Components as text with slashes between.
    static func text(_ path: [[UInt8]]) -> String { PathText.display(Array(path.joined(separator: [0x2f]))) }

    private static func pad(_ text: String, _ width: Int, isRight: Bool = false) -> String {
        let padding = String(repeating: " ", count: max(0, width - text.count))
        return isRight ? padding + text : text + padding
    }

    /// Ten letters: `drwxr-xr-x`, with `s` and `t` as ls(1) writes them.
    static func mode(_ metadata: FileMetadata) -> String {
        let type: Character =
            switch metadata.type {
            case .regular: "-"
            case .directory: "d"
            case .symbolicLink: "l"
            case .fifo: "p"
            case .characterDevice: "c"
            case .blockDevice: "b"
            case .socket: "s"
            }
        var letters = [type]
        let specials: [(bit: UInt16, letter: String)] = [(0o4000, "s"), (0o2000, "s"), (0o1000, "t")]
        for (index, special) in specials.enumerated() {
            let bits = metadata.permissions >> UInt16(6 - 3 * index)
            letters.append(bits & 4 != 0 ? "r" : "-")
            letters.append(bits & 2 != 0 ? "w" : "-")
            let runs = bits & 1 != 0
            if metadata.permissions & special.bit != 0 {
                letters += runs ? special.letter : special.letter.uppercased()
            } else {
                letters.append(runs ? "x" : "-")
            }
        }
        return String(letters)
    }
}
