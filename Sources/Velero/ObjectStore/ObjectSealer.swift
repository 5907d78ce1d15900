internal import Sealing

/// Encrypts one object as its bytes come. Used by one task at a time.
struct ObjectSealer {
    private let header: SealedObjectHeader
    private let cipher: AES256GCM
    private let name: [UInt8]
    private var pending: [UInt8] = []
    private var segment: UInt64 = 0
    private var hasBegun = false

    /// A sealer for the object of that name, relative to the location. Throws when the library fails.
    init(key: ObjectEncryptionKey, name: String) throws(SealingError) {
        header = try SealedObjectHeader(for: key)
        cipher = try AES256GCM(key: key.objectKey(header.bytes))
        self.name = Array(name.utf8)
        pending.reserveCapacity(header.segmentBytes)
    }

    /// What is to be stored next, perhaps nothing yet, once `bytes` have come too.
    mutating func append(_ bytes: [UInt8]) throws(SealingError) -> [UInt8] {
        var sealed = begin()
        var rest = bytes[...]
        while !rest.isEmpty {
            // A full segment waits for one byte more, for the last one is marked.
            if pending.count == header.segmentBytes { sealed += try seal(isLast: false) }
            let taken = rest.prefix(header.segmentBytes - pending.count)
            pending += taken
            rest = rest.dropFirst(taken.count)
        }
        return sealed
    }

    /// The end of what is to be stored.
    mutating func finish() throws(SealingError) -> [UInt8] {
        begin() + (try seal(isLast: true))
    }

    private mutating func begin() -> [UInt8] {
        defer { hasBegun = true }
        return hasBegun ? [] : header.bytes
    }

    private mutating func seal(isLast: Bool) throws(SealingError) -> [UInt8] {
        let sealed = try cipher.seal(nonce: segment << 1 | (isLast ? 1 : 0), context: name, pending)
        segment += 1
        pending.removeAll(keepingCapacity: true)
        return sealed
    }
}
