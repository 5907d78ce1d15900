internal import HTTPTransport
internal import Sealing

/// Hashes of bodies for signatures and checksums.
///
/// The work runs on the caller's task in slices of a piece: some 30 ms for a pack of 64 MiB with SHA extensions, and
/// only over plain HTTP or for an explicit checksum. Between pieces the task yields.
enum PayloadHash {
    /// SHA-256 of `bytes` in hexadecimal.
    static func sha256(_ bytes: [UInt8]) -> String { SHA256State.digest(of: bytes).description }

    /// SHA-256 of a body.
    static func sha256(_ body: HTTPBody) async -> Digest {
        var state = SHA256State()
        for piece in body.pieces {
            state.update(piece.bytes)
            await Task.yield()
        }
        return state.finish()
    }

    /// CRC-32 of a body, most significant byte first.
    static func crc32(_ body: HTTPBody, _ tables: CRC32.Tables) async -> [UInt8] {
        var state = CRC32(tables)
        for piece in body.pieces {
            state.update(piece.bytes)
            await Task.yield()
        }
        return state.bytes
    }

    /// SHA-1 of a body.
    static func sha1(_ body: HTTPBody) async -> [UInt8] {
        var state = SHA1State()
        for piece in body.pieces {
            state.update(piece.bytes)
            await Task.yield()
        }
        return state.finish()
    }

    /// MD5 of a body.
    static func md5(_ body: HTTPBody) async -> [UInt8] {
        var state = MD5()
        for piece in body.pieces {
            state.update(piece.bytes)
            await Task.yield()
        }
        return state.finish()
    }
}
