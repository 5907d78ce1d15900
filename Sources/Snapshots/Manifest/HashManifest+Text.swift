internal import Basics
internal import FoundationEssentials
internal import Repository
package import RepositoryFormat
internal import Sealing

extension HashManifest {
    /// Bytes handed to a sink at a time, about.
    private static let pieceBytes = 64 << 10

    /// Writes lines that `sha256sum -c` of GNU coreutils accepts, run in the directory that the manifest is of.
    ///
    /// Names go out as raw bytes; one with a newline, a carriage return or a backslash is escaped, which a backslash at
    /// the beginning of the line says (coreutils manual, "md5sum invocation"). Only regular files have a line.
    package func writeSHA256Sums(to sink: ([UInt8]) throws -> Void) throws {
        var piece: [UInt8] = []
        try forEach { entry in
            guard entry.type == .regular else { return }
            Self.appendSHA256Line(digest: try requireDigest(entry).description, path: entry.path, to: &piece)
            if piece.count >= Self.pieceBytes {
                try sink(piece)
                piece.removeAll(keepingCapacity: true)
            }
        }
        if !piece.isEmpty { try sink(piece) }
    }

    static func appendSHA256Line(digest: String, path: [UInt8], to bytes: inout [UInt8]) {
        let backslash = UInt8(ascii: "\\")
        let isEscaped = path.contains { $0 == backslash || $0 == 0x0a || $0 == 0x0d }
        if isEscaped { bytes.append(backslash) }
        bytes += digest.utf8
        bytes += "  ".utf8
        // By itself it would stand for standard input.
        if path == [UInt8(ascii: "-")] { bytes += "./".utf8 }
        for byte in path {
            switch byte {
            case backslash: bytes += #"\\"#.utf8
            case 0x0a: bytes += #"\n"#.utf8
            case 0x0d: bytes += #"\r"#.utf8
            default: bytes.append(byte)
            }
        }
        bytes.append(0x0a)
    }

    /// Names the form that `writeJSON` writes.
    package static let jsonSchema = "becalm.io/manifest/v1"

    /// Writes one JSON object: `schema`, `snapshot`, `time`, `host`, `root`, `content_digest`, and `entries` in order,
    /// one a line, each with `path`, `type`, `mode` (octal text), and by type `size`, `sha256`, `target`. A path that is
    /// not UTF-8 is escaped for reading and has its bytes beside it in `path_base64`.
    package func writeJSON(to sink: ([UInt8]) throws -> Void) throws {
        let head = JSONValue.object([
            .init("schema", .string(Self.jsonSchema)), .init("snapshot", .string(tree.id.description)),
            .init("time", .string(tree.manifest.time)), .init("host", .string(tree.manifest.host)),
            .init("root", .string(Self.display(root))), .init("content_digest", .optional(contentDigest)),
        ])
        var piece = Array(head.text.dropLast()) + Array(",\"entries\":[".utf8)
        var isFirst = true
        try forEach { entry in
            piece += (isFirst ? "\n" : ",\n").utf8
            isFirst = false
            try json(entry).append(to: &piece)
            if piece.count >= Self.pieceBytes {
                try sink(piece)
                piece.removeAll(keepingCapacity: true)
            }
        }
        piece += "\n]}\n".utf8
        try sink(piece)
    }

    private func json(_ entry: Entry) throws -> JSONValue {
        var members = Self.text(entry.path, "path")
        members.append(.init("type", .string(Self.name(entry.type))))
        members.append(.init("mode", .string(Self.octal(entry.permissions))))
        switch entry.type {
        case .regular:
            members.append(.init("size", .unsigned(entry.size)))
            members.append(.init("sha256", .string(try requireDigest(entry).description)))
        case .symbolicLink: members += Self.text(entry.linkTarget, "target")
        default: break
        }
        return .object(members)
    }

    /// A member for raw bytes: as they are when they are UTF-8, else escaped, with the bytes in a second member.
    private static func text(_ bytes: [UInt8], _ name: String) -> [JSONValue.Member] {
        if let text = String(validating: bytes, as: UTF8.self) { return [.init(name, .string(text))] }
        return [
            .init(name, .string(PathText.display(bytes))),
            .init("\(name)_base64", .string(Data(bytes).base64EncodedString())),
        ]
    }

    /// As the manifest and the command line spell it.
    package static func name(_ type: FileType) -> String {
        switch type {
        case .regular: "file"
        case .directory: "directory"
        case .symbolicLink: "symlink"
        case .fifo: "fifo"
        case .characterDevice: "character_device"
        case .blockDevice: "block_device"
        case .socket: "socket"
        }
    }

    /// At least four digits: `0644`.
    package static func octal(_ permissions: UInt16) -> String {
        let text = String(permissions, radix: 8)
        return String(repeating: "0", count: max(0, 4 - text.count)) + text
    }
}
