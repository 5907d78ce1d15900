internal import FoundationEssentials
package import Logging
package import ObjectStorage
package import SystemPackage

/// Remembers, in the cache directory, what probing a store has found, so that it is done once a machine. Blocks.
package struct CapabilityMemory: Sendable {
    /// Nil remembers nothing.
    private let directory: FilePath?
    private let logger: Logger

    package init(directory: FilePath?, logger: Logger) {
        self.directory = directory
        self.logger = logger
    }

    /// What is stored: JSON, one file a place.
    private struct Record: Codable {
        var version: Int
        var identity: String
        var createIfAbsent: Bool
        var replaceIfTag: Bool
        var conditionalDelete: Bool
        var listIsOrdered: Bool
        var retention: Bool
    }

    /// The file's name is FNV-1a, 64 bits, of the identity; should two have the same, each forgets the other.
    private func path(_ identity: String) -> FilePath? {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in identity.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return directory?.appending("stores").appending("\(String(hash, radix: 16)).json")
    }

    /// What was found there; nil when nothing is remembered, or not in a form that this version knows.
    package func load(_ identity: String) -> StoreCapabilities? {
        guard let path = path(identity) else { return nil }
        do {
            let bytes = try SystemFiles.read(Array(path.string.utf8), what: "what is remembered of the store")
            let record = try JSONDecoder().decode(Record.self, from: Data(bytes))
            guard record.version == 1, record.identity == identity else { return nil }
            return StoreCapabilities(
                createIfAbsent: record.createIfAbsent, replaceIfTag: record.replaceIfTag,
                conditionalDelete: record.conditionalDelete, listIsOrdered: record.listIsOrdered,
                retention: record.retention)
        } catch {
            logger.debug("no earlier verdict on the store: \(error)")
            return nil
        }
    }

    /// Remembers it. A disk that refuses costs a probe the next time and nothing else.
    package func store(_ capabilities: StoreCapabilities, _ identity: String) {
        guard let directory, let path = path(identity) else { return }
        let record = Record(
            version: 1, identity: identity, createIfAbsent: capabilities.createIfAbsent,
            replaceIfTag: capabilities.replaceIfTag, conditionalDelete: capabilities.conditionalDelete,
            listIsOrdered: capabilities.listIsOrdered, retention: capabilities.retention)
        do {
            try SystemFiles.makeDirectories(directory.appending("stores"))
            let temporary = Array("\(path.string).\(CapabilityProbe.randomName())".utf8)
            try SystemFiles.write(Array(try JSONEncoder().encode(record)), to: temporary)
            try SystemFiles.rename(temporary, to: Array(path.string.utf8))
        } catch {
            logger.info("what was found out about the store is not remembered: \(error)")
        }
    }
}
