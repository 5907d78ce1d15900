/// Where a location's configuration says that a key is.
package enum KeySource: Hashable, Sendable, CustomStringConvertible {
    /// A file in the Velero server's container.
    case file(String)
    /// An entry of a Secret in Velero's namespace.
    case secret(name: String, key: String)

    /// The Secret and entry that `NAME/KEY` names; nil unless it is both.
    static func secret(_ text: String) -> KeySource? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, isSecretName(parts[0]), isEntryName(parts[1]) else { return nil }
        return .secret(name: parts[0], key: parts[1])
    }

    /// A DNS-1123 subdomain, as names of Secrets are.
    private static func isSecretName(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "-")
                    || byte == UInt8(ascii: ".")
            }
    }

    /// What the API server takes as the name of an entry.
    private static func isEntryName(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (0x61...0x7a).contains(byte) || (0x41...0x5a).contains(byte) || (0x30...0x39).contains(byte)
                    || "-._".utf8.contains(byte)
            }
    }

    package var description: String {
        switch self {
        case .file(let path): "the file \(path)"
        case .secret(let name, let key): "\(key) of the Secret \(name)"
        }
    }
}
