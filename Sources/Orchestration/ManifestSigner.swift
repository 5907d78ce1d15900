internal import Sealing

/// Signs manifests with a private EC key.
package struct ManifestSigner: Sendable {
    let key: ECSigningKey

    /// The key in PEM, whose passphrase is needed if it is encrypted. `file` names it in errors. Throws a usage error.
    package init(pem: [UInt8], passphrase: [UInt8]?, file: String) throws(JourneyError) {
        do { key = try ECSigningKey(pem: pem, passphrase: passphrase) } catch {
            throw JourneyError(.usage, kind: "invalid_key", "cannot sign with \(file): \(error)", cause: error)
        }
    }
}
