internal import COpenSSL

/// The curves that signatures are made on, each with the hash that matches its strength (FIPS 186-5).
package enum ECCurve: String, Sendable, CaseIterable {
    case p256 = "P-256"
    case p384 = "P-384"
    case p521 = "P-521"

    /// The curve of a name as the library gives it.
    init?(groupName: String) {
        switch groupName {
        case "prime256v1", "P-256": self = .p256
        case "secp384r1", "P-384": self = .p384
        case "secp521r1", "P-521": self = .p521
        default: return nil
        }
    }

    /// SHA-256, SHA-384 or SHA-512.
    var digest: OpaquePointer? {
        switch self {
        case .p256: unsafe EVP_sha256()
        case .p384: unsafe EVP_sha384()
        case .p521: unsafe EVP_sha512()
        }
    }
}
