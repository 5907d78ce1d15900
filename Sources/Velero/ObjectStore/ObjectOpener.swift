internal import Sealing

/// Decrypts one object as its bytes come, and gives out nothing unchecked. Used by one task at a time.
struct ObjectOpener {
    private let header: SealedObjectHeader
    private let cipher: AES256GCM
    private let name: [UInt8]
    private var pending: [UInt8] = []
    private var segment: UInt64 = 0

    /// An opener for the object of that name, relative to the location, whose header is `header`. Throws `unknownKey` when
    /// the keyring has not the key.
    init(_ header: SealedObjectHeader, keys: ObjectKeyring?, name: String) throws(SealedObjectError) {
        guard let key = keys?[header.keyID] else {
            let have = keys.map { "what is set is \($0.ids)" } ?? "none is set"
            throw SealedObjectError(
                .unknownKey,
                "it is encrypted with the key \(header.keyID), and \(have); set encryptionKeySecret or encryptionKeyFile, or the previous ones, to that key"
            )
        }
        self.header = header
        self.name = Array(name.utf8)
        do {
            cipher = try AES256GCM(key: key.objectKey(header.bytes))
        } catch {
            throw SealedObjectError(.corrupted, "it cannot be decrypted: \(error)")
        }
    }

    private var sealedBytes: Int { header.segmentBytes + AES256GCM.tagSize }

    /// The text of the segments that are whole, and not the last, once `bytes` have come too. Throws `corrupted`.
    mutating func append(_ bytes: [UInt8]) throws(SealedObjectError) -> [UInt8] {
        pending += bytes
        var text: [UInt8] = []
        var start = 0
        // What may be the last waits for one byte more or the end.
        while pending.count - start > sealedBytes {
            text += try open(pending[start..<start + sealedBytes], isLast: false)
            start += sealedBytes
        }
        pending.removeFirst(start)
        return text
    }

    /// The text of the last segment. Throws `corrupted` also when the object was cut short.
    mutating func finish() throws(SealedObjectError) -> [UInt8] {
        defer { pending = [] }
        guard pending.count > AES256GCM.tagSize || segment == 0 else { throw Self.cut }
        return try open(pending[...], isLast: true)
    }

    private mutating func open(_ sealed: ArraySlice<UInt8>, isLast: Bool) throws(SealedObjectError) -> [UInt8] {
        do {
            let text = try cipher.open(nonce: segment << 1 | (isLast ? 1 : 0), context: name, Array(sealed))
            segment += 1
            return text
        } catch {
            if isLast, sealed.count == sealedBytes, segment > 0 { throw Self.cut }
            throw SealedObjectError(
                .corrupted,
                "\(isLast ? "its end" : "byte \(segment * UInt64(header.segmentBytes)) and what follows") does not match its tag: it was changed or cut short, or was stored under another name"
            )
        }
    }

    private static let cut = SealedObjectError(.corrupted, "it was cut short: its end is missing")
}
