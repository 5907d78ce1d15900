import Foundation
import HTTPTestServer

/// OpenSSL's test server with a certificate for 127.0.0.1 that it signed itself.
struct TLSServer {
    let process: ServerProcess
    /// The certificate's file, PEM.
    let certificate: String
    let key: String

    /// `names` are the certificate's; `asksClient` makes the server refuse clients that do not show this certificate.
    static func start(names: String = "IP:127.0.0.1", asksClient: Bool = false) async throws -> TLSServer {
        let keys = FileManager.default.temporaryDirectory.appendingPathComponent("becalm-tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: keys, withIntermediateDirectories: true)
        let certificate = keys.appendingPathComponent("certificate.pem").path
        let key = keys.appendingPathComponent("key.pem").path
        try await ServerProcess.run(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                "/CN=test", "-addext", "subjectAltName=\(names)", "-keyout", key, "-out", certificate,
            ])
        let process = try await ServerProcess.start("openssl") { port, _ in
            ["s_server", "-accept", "127.0.0.1:\(port)", "-cert", certificate, "-key", key, "-www", "-quiet"]
                + (asksClient ? ["-Verify", "1", "-CAfile", certificate, "-verify_return_error"] : [])
        }
        return TLSServer(process: process, certificate: certificate, key: key)
    }
}
