internal import Basics
internal import Sealing

/// The beginning of an encrypted object; `EncryptedObjects.md` specifies it.
package struct SealedObjectHeader: Equatable, Sendable {
    /// What an encrypted object begins with.
    static let magic = Array("becalm.io/object".utf8)
    /// Bytes of a header.
    package static let size = 68
    private static let version: UInt8 = 1
    private static let saltBytes = 32
    /// 64 KiB to write; 1 MiB at most to read, for a reader holds a segment.
    private static let writtenSegmentBits = 16
    private static let segmentBits = 12...20

    /// Bytes of text in each segment but the last.
    let segmentBytes: Int
    /// Of the key that the object's own is derived from.
    package let keyID: String
    let bytes: [UInt8]

    /// A header for a new object. Throws when there is no randomness.
    init(for key: ObjectEncryptionKey) throws(SealingError) {
        segmentBytes = 1 << Self.writtenSegmentBits
        keyID = key.id
        bytes =
            Self.magic + [Self.version, UInt8(Self.writtenSegmentBits), 0, 0] + key.idBytes
            + (try SecureRandom.bytes(Self.saltBytes))
    }

    /// Whether an object that begins with `bytes` is an encrypted one.
    package static func isSealed(_ bytes: [UInt8]) -> Bool {
        bytes.count >= magic.count && bytes.starts(with: magic)
    }

    /// Reads the header at the start of `bytes`. Throws `unsupportedVersion` or `corrupted`.
    package init(parsing bytes: [UInt8]) throws(SealedObjectError) {
        guard Self.isSealed(bytes), bytes.count >= Self.size else {
            throw SealedObjectError(.corrupted, "it ends within its header")
        }
        guard bytes[16] == Self.version else {
            throw SealedObjectError(
                .unsupportedVersion,
                "it is encrypted in version \(bytes[16]) of the format, and this program knows \(Self.version): use a newer one"
            )
        }
        guard Self.segmentBits.contains(Int(bytes[17])), bytes[18] == 0, bytes[19] == 0 else {
            throw SealedObjectError(.corrupted, "its header was changed")
        }
        segmentBytes = 1 << Int(bytes[17])
        keyID = Hex.encode(Array(bytes[20..<36]))
        self.bytes = Array(bytes[..<Self.size])
    }
}
