internal import Basics
internal import Sealing

/// A key that objects are encrypted with on this side, known by its id. It shows nothing else of itself.
package struct ObjectEncryptionKey: Sendable {
    /// What tells keys apart: 32 hexadecimal digits that say nothing of the key.
    package let id: String
    let idBytes: [UInt8]
    private let master: HMACSHA256

    /// Bytes that a key has at least.
    package static let minimumBytes = 32
    /// Different values among its bytes at least: hexadecimal digits of 32 random bytes have 13 or more.
    private static let minimumValues = 10

    /// The key that a file or an entry of a Secret holds: 32 random bytes or more, as they are or as text. One line end at the
    /// end does not count. Throws `weakKey` for what is no random key; `source` says where it is from.
    package init(_ content: [UInt8], source: String) throws(SealedObjectError) {
        let key = Self.trimmed(content)
        guard key.count >= Self.minimumBytes else {
            throw SealedObjectError(
                .weakKey,
                "\(source) has \(key.count) bytes, and a key has \(Self.minimumBytes) random ones at least: make one by 'openssl rand -base64 32'"
            )
        }
        let isText = key.allSatisfy { (0x20...0x7e).contains($0) }
        guard Set(key).count >= Self.minimumValues, !(isText && key.contains(0x20)) else {
            throw SealedObjectError(
                .weakKey,
                "\(source) holds words or a pattern, which can be guessed: make a key by 'openssl rand -base64 32'")
        }
        master = HMACSHA256(
            key: HKDF.derive(secret: key, salt: [], info: Array("becalm.io/object 1 master".utf8), count: 32))
        idBytes = Array(master.authenticate(Array("becalm.io/object 1 key id".utf8)).bytes.prefix(16))
        id = Hex.encode(idBytes)
    }

    private static func trimmed(_ content: [UInt8]) -> [UInt8] {
        guard content.last == 0x0a, content.count > minimumBytes else { return content }
        let line = content.dropLast()
        return Array(line.last == 0x0d && line.count > minimumBytes ? line.dropLast() : line)
    }

    /// The key of one object, whose header is `header`.
    func objectKey(_ header: [UInt8]) throws(SealingError) -> SecretKey {
        try SecretKey(bytes: master.authenticate(Array("becalm.io/object 1 segments".utf8) + header).bytes)
    }
}

/// The keys of a location: one to write with, and all that reading may need.
package struct ObjectKeyring: Sendable {
    package let current: ObjectEncryptionKey
    private let keys: [String: ObjectEncryptionKey]

    package init(_ current: ObjectEncryptionKey, previous: [ObjectEncryptionKey] = []) {
        self.current = current
        keys = Dictionary(([current] + previous).map { ($0.id, $0) }) { first, _ in first }
    }

    subscript(id: String) -> ObjectEncryptionKey? { keys[id] }

    /// The ids of all keys, for messages.
    var ids: String { keys.keys.sorted().joined(separator: ", ") }
}
