internal import Snapshots

/// A volume as Velero keeps it between two calls, which different processes may serve: its kind and where it is, as its
/// PersistentVolume says it. Version 1, one of
///
///     becalm1:hostpath:/PATH
///     becalm1:local:/PATH
///     becalm1:nfs:SERVER:/PATH
///
/// Never a hash: no other process could find the volume behind one.
package struct VolumeID: Hashable, Sendable, CustomStringConvertible {
    /// Which source of a PersistentVolume it is.
    package enum Kind: String, Sendable, CaseIterable {
        case hostPath = "hostpath"
        case local
        case nfs

        /// As Velero shows it: the type of volume.
        package var volumeType: String { "becalm-\(rawValue)" }
    }

    package var kind: Kind
    /// Of the NFS server, as the PersistentVolume spells it; empty for a node's paths.
    package var server: String
    package var path: VolumePath

    /// What every id begins with.
    private static let prefix = "becalm1:"
    /// The longest name of a server (RFC 1035; Kubernetes asks for no more).
    private static let longestServer = 253

    package init(kind: Kind, server: String = "", path: VolumePath) {
        self.kind = kind
        self.server = server
        self.path = path
    }

    /// From an id's text; nil for what this version cannot read.
    package init?(_ text: String) {
        guard text.hasPrefix(Self.prefix) else { return nil }
        let rest = text.dropFirst(Self.prefix.count)
        guard let colon = rest.firstIndex(of: ":"), let kind = Kind(rawValue: String(rest[..<colon])) else {
            return nil
        }
        var place = rest[rest.index(after: colon)...]
        var server = ""
        if kind == .nfs {
            // An address of IPv6 has colons of its own; a path begins with a slash.
            guard let end = place.firstRange(of: ":/") else { return nil }
            server = String(place[..<end.lowerBound])
            place = place[place.index(after: end.lowerBound)...]
            guard Self.isServer(server) else { return nil }
        }
        guard case .path(let path) = VolumePath.parse(String(place)), path.description == place else { return nil }
        self.init(kind: kind, server: server, path: path)
    }

    /// Whether text can name a server in an id.
    package static func isServer(_ text: String) -> Bool {
        (1...longestServer).contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x21..<0x7f).contains($0) && $0 != UInt8(ascii: "/") }
    }

    package var description: String {
        "\(Self.prefix)\(kind.rawValue):\(server.isEmpty ? "" : "\(server):")\(path)"
    }

    /// For messages: where it is.
    package var place: String {
        let path = PathText.display(Array("\(path)".utf8))
        return server.isEmpty ? path : "\(server):\(path)"
    }
}

/// An absolute path as a PersistentVolume says it, by its components; no components: the root.
package struct VolumePath: Hashable, Sendable, CustomStringConvertible {
    /// In order; none is empty, `.` or `..`, or holds a slash or a control character.
    package private(set) var components: [String]

    /// What text says of a path.
    package enum Parsed: Hashable, Sendable {
        case path(VolumePath)
        /// Why it is none that this plugin takes, to be said after the path.
        case refused(String)
    }

    /// Bytes of a path at the most: PATH_MAX of Linux without its NUL (limits.h).
    private static let longest = 4095

    /// The path that text says, without doubled slashes, `.` and a slash at its end.
    package static func parse(_ text: String) -> Parsed {
        guard text.hasPrefix("/") else { return .refused("is no absolute path") }
        guard text.utf8.count <= longest else { return .refused("is longer than \(longest) bytes") }
        guard !text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7f }) else {
            return .refused("has control characters in it")
        }
        let components = text.split(separator: "/").map(String.init).filter { $0 != "." }
        guard !components.contains("..") else { return .refused("has '..' in it") }
        return .path(VolumePath(components))
    }

    private init(_ components: [String]) { self.components = components }

    /// The root.
    package static let root = VolumePath([])

    /// The directory that it is in; the root's own is the root.
    package var parent: VolumePath { VolumePath(components.dropLast()) }

    /// The entry `name`, which is a bare one, of the directory.
    package func appending(_ name: String) -> VolumePath {
        precondition(!name.isEmpty && name != "." && name != ".." && !name.contains("/"))
        return VolumePath(components + [name])
    }

    package var description: String { "/" + components.joined(separator: "/") }
}
