internal import COpenSSL

/// The library that does the cryptography.
package enum CryptographicLibrary {
    /// Name and version as it tells them: `OpenSSL 3.0.17 1 Jul 2025`.
    package static var version: String {
        guard let text = unsafe OpenSSL_version(OPENSSL_VERSION) else { return "OpenSSL" }
        return unsafe String(cString: text)
    }
}
