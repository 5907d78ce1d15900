internal import Basics
package import RepositoryFormat
internal import Sealing

/// The two halves of an X25519 key as text: a line of `becalm-secret-` or `becalm-public-` and 64 hexadecimal digits. In a
/// file, lines that begin with `#` are comments.
package enum IdentityText {
    private static let secretPrefix = "becalm-secret-"
    private static let publicPrefix = "becalm-public-"

    /// The private key in a file's content. Throws a usage error, which never repeats a line; `file` names it there.
    package static func credential(_ content: [UInt8], file: String) throws(JourneyError) -> KeyCredential {
        for line in String(decoding: content, as: UTF8.self).split(whereSeparator: \.isNewline) {
            guard line.hasPrefix(secretPrefix), let bytes = Hex.decode(line.dropFirst(secretPrefix.count)) else {
                continue
            }
            do { return .identity(try X25519PrivateKey(secret: SecretKey(bytes: bytes))) } catch {
                throw JourneyError(error)
            }
        }
        throw .usage(
            "\(file) is no identity file: it has no line '\(secretPrefix)…' as 'becalm key generate' writes it")
    }

    /// A new key: the file that its owner keeps, and the public half for others.
    package static func generate() throws(JourneyError) -> (file: [UInt8], publicKey: String) {
        do {
            let key = try X25519PrivateKey.generate()
            let publicKey = publicPrefix + Hex.encode(key.publicKey.bytes)
            let secret = key.secret.withBytes { Hex.encode($0) }
            let lines = [
                "# A private key for becalm. Whoever has this file can open the repositories that it is a key of.",
                "# public key: \(publicKey)", "\(secretPrefix)\(secret)",
            ]
            return (Array(lines.map { "\($0)\n" }.joined().utf8), publicKey)
        } catch {
            throw JourneyError(error)
        }
    }

    /// The 32 bytes of a public key's text; nil for anything else.
    package static func recipient(_ text: String) -> [UInt8]? {
        guard text.hasPrefix(publicPrefix), let bytes = Hex.decode(text.dropFirst(publicPrefix.count)),
            bytes.count == X25519PublicKey.size
        else { return nil }
        return bytes
    }
}
