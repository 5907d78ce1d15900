/// Where each kind of object lies in a repository (Format.md, "Layout").
package enum ObjectNames {
    /// The repository's parameters, and their second copy.
    package static let config = "config"
    package static let configCopy = "config.copy"
    /// Generations of the key table, and their second copies.
    package static let keyTables = "keys/"
    package static let keyTableCopies = "keys-copy/"
    /// Index segments.
    package static let segments = "index/"
    /// Snapshot manifests: what is listed there is committed.
    package static let snapshots = "snapshots/"
    /// Records of snapshots that were forgotten on purpose.
    package static let forgotten = "forgotten/"
    /// Records of packs that a collector means to remove.
    package static let condemned = "condemned/"
    /// Claims by which collectors keep out of each other's way.
    package static let claims = "claims/"
    package static let collectorClaim = "claims/collector"
    /// What writers that are not done have stored so far, and their sessions.
    package static let journals = "journal/"
    package static let sessions = "sessions/"

    /// `data/4f/4f…`: 256 prefixes, so that a store can spread the load.
    package static func pack(_ id: Identifier, _ kind: ChunkKind) -> String {
        let hex = id.description
        return "\(kind.packPrefix)\(hex.prefix(2))/\(hex)"
    }

    /// The pack's id and kind from its object name, or nil when it is no pack's name.
    package static func parsePack(_ key: String) -> (id: Identifier, kind: ChunkKind)? {
        for kind in ChunkKind.allCases where key.hasPrefix(kind.packPrefix) {
            guard let name = key.split(separator: "/").last, let id = Identifier(hex: name), pack(id, kind) == key
            else {
                return nil
            }
            return (id, kind)
        }
        return nil
    }

    /// The names of single objects of each kind.
    package static func segment(_ id: Identifier) -> String { segments + id.description }
    package static func snapshot(_ id: Identifier) -> String { snapshots + id.description }
    package static func condemnedRecord(_ id: Identifier) -> String { condemned + id.description }
    package static func forgottenRecord(_ id: Identifier) -> String { forgotten + id.description }

    /// Generations sort by name.
    package static func keyTable(_ generation: UInt32) -> String { keyTables + padded(generation) }
    package static func keyTableCopy(_ generation: UInt32) -> String { keyTableCopies + padded(generation) }

    /// The identifier that ends `key`, or nil.
    package static func identifier(of key: String, under prefix: String) -> Identifier? {
        guard key.hasPrefix(prefix) else { return nil }
        return Identifier(hex: key.dropFirst(prefix.count))
    }

    /// The generation that ends a key table's name, or nil.
    package static func generation(of key: String) -> UInt32? {
        guard let name = key.split(separator: "/").last, name.count == 8 else { return nil }
        return UInt32(name, radix: 16)
    }

    private static func padded(_ generation: UInt32) -> String {
        let text = String(generation, radix: 16)
        return String(repeating: "0", count: 8 - text.count) + text
    }
}
