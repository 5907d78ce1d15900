internal import COpenSSL

/// SHA-256 (FIPS 180-4) over bytes that arrive in pieces. A value: a copy goes its own way.
///
/// It uses the library's low-level functions, which take SHA-NI where the processor has it and fetch nothing per call.
package struct SHA256State: Sendable {
    /// Bytes that `exported` gives: eight words of four bytes, and the length.
    package static let exportedSize = 40
    /// Bytes that the function takes at a time; a state can be exported at multiples of it.
    package static let blockSize = 64

    private var context: SHA256_CTX

    /// The state that has taken nothing.
    package init() {
        context = SHA256_CTX()
        unsafe SHA256_Init(&context)
    }

    /// The state that `exported` gave, or nil when `exported` is no such thing (length, or not a multiple of 64 bytes).
    package init?(exported: [UInt8]) {
        guard exported.count == Self.exportedSize else { return nil }
        var words: [UInt32] = []
        for start in stride(from: 0, to: 32, by: 4) {
            words.append(exported[start..<start + 4].reduce(0) { $0 << 8 | UInt32($1) })
        }
        let length = exported[32...].reduce(0) { $0 << 8 | UInt64($1) }
        guard length.isMultiple(of: UInt64(Self.blockSize)), length < 1 << 61 else { return nil }
        self.init()
        context.h = (words[0], words[1], words[2], words[3], words[4], words[5], words[6], words[7])
        context.Nl = UInt32(truncatingIfNeeded: length << 3)
        context.Nh = UInt32(truncatingIfNeeded: length >> 29)
    }

    /// The inner state: the eight words of the hash and the 64-bit number of bytes taken, all big-endian.
    ///
    /// Nil unless a multiple of 64 bytes has been taken. It names the bytes taken as a digest does, so it is no secret
    /// as long as they are none.
    package var exported: [UInt8]? {
        guard context.num == 0 else { return nil }
        let length = (UInt64(context.Nh) << 32 | UInt64(context.Nl)) >> 3
        let h = context.h
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.exportedSize)
        for word in [h.0, h.1, h.2, h.3, h.4, h.5, h.6, h.7] {
            for shift: UInt32 in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: word >> shift)) }
        }
        for shift: UInt64 in [56, 48, 40, 32, 24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: length >> shift)) }
        return bytes
    }

    /// Takes `bytes`.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard unsafe !bytes.isEmpty else { return }
        unsafe SHA256_Update(&context, bytes.baseAddress, bytes.count)
    }

    /// Takes as many of `bytes` as complete a block that has begun; the others.
    mutating func fillBlock(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard context.num > 0 else { return unsafe bytes }
        let head = min(bytes.count, Self.blockSize - Int(context.num))
        unsafe update(UnsafeRawBufferPointer(rebasing: bytes[0..<head]))
        return unsafe UnsafeRawBufferPointer(rebasing: bytes[head...])
    }

    /// Lets `body` advance the eight words by whole blocks, which `count` then has to be told.
    mutating func withWords(_ body: (UnsafeMutablePointer<UInt32>) -> Void) {
        unsafe withUnsafeMutableBytes(of: &context.h) { raw in
            if let words = unsafe raw.baseAddress?.assumingMemoryBound(to: UInt32.self) { unsafe body(words) }
        }
    }

    /// Counts `bytes` more as taken.
    mutating func count(_ bytes: Int) {
        let bits = (UInt64(context.Nh) << 32 | UInt64(context.Nl)) &+ UInt64(bytes) << 3
        context.Nl = UInt32(truncatingIfNeeded: bits)
        context.Nh = UInt32(truncatingIfNeeded: bits >> 32)
    }

    /// Takes `bytes`.
    package mutating func update(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe update($0) }
    }

    /// The digest of all that was taken; the state begins anew.
    package mutating func finish() -> Digest {
        let digest = conclude()
        unsafe SHA256_Init(&context)
        return digest
    }

    /// The digest of all that was taken; the state is spent.
    mutating func conclude() -> Digest {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        unsafe withUnsafeMutableBytes(of: &words) { raw in
            _ = unsafe SHA256_Final(raw.baseAddress?.assumingMemoryBound(to: UInt8.self), &context)
        }
        return Digest(memory: words)
    }

    /// The digest of `bytes`.
    package static func digest(of bytes: UnsafeRawBufferPointer) -> Digest {
        var state = SHA256State()
        unsafe state.update(bytes)
        return state.conclude()
    }

    /// The digest of `bytes`.
    package static func digest(of bytes: [UInt8]) -> Digest {
        unsafe bytes.withUnsafeBytes { unsafe digest(of: $0) }
    }
}
