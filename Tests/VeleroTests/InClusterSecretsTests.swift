import Foundation
import HTTPTestServer
import Logging
import Testing
import Velero

/// An API server that has one Secret, with a certificate that it signed itself, for one service account.
private struct APIServer {
    let process: ServerProcess
    /// What a pod finds of its service account.
    let account: URL

    private static let script = """
        import http.server, ssl, sys
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                known = self.headers["Authorization"] == "Bearer t0k3n"
                there = self.path == "/api/v1/namespaces/backup/secrets/becalm"
                body = b'{"kind":"Secret","data":{"key":"AAEC/w==","empty":"","bad":"A"}}' if known and there else b"{}"
                self.send_response(200 if known and there else 404 if known else 403)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def log_message(self, *words): pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2] + "/ca.crt", sys.argv[2] + "/key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.serve_forever()
        """

    static func start(token: String = "t0k3n\n") async throws -> APIServer {
        let account = FileManager.default.temporaryDirectory.appendingPathComponent("becalm-api-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: account, withIntermediateDirectories: true)
        try await ServerProcess.run(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                account.appendingPathComponent("key.pem").path, "-out", account.appendingPathComponent("ca.crt").path,
            ])
        try Data(token.utf8).write(to: account.appendingPathComponent("token"))
        let process = try await ServerProcess.start("python3") { port, _ in ["-c", script, String(port), account.path] }
        return APIServer(process: process, account: account)
    }

    func secrets(_ more: [String: String] = [:]) -> InClusterSecrets {
        let variables = [
            "VELERO_NAMESPACE": "backup", "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": String(process.port),
        ]
        return InClusterSecrets(
            PluginEnvironment(
                variables: variables.merging(more) { _, new in new },
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }), directory: account.path)
    }
}

@Suite(
    "Secrets through the API server", .enabled(if: ServerProcess.find("python3") != nil, "needs python3 on the PATH"),
    .timeLimit(.minutes(5)))
struct InClusterSecretsTests {
    @Test("An entry comes back as its bytes, and what is not there says what it is")
    func entries() async throws {
        let server = try await APIServer.start()
        defer { try? FileManager.default.removeItem(at: server.account) }
        let secrets = server.secrets()
        #expect(try await secrets.value(ofSecret: "becalm", key: "key") == [0, 1, 2, 255])
        #expect(try await secrets.value(ofSecret: "becalm", key: "empty") == [])
        for (name, key, code, says) in [
            ("becalm", "none", VeleroError.Code.notFound, "the Secret backup/becalm has no entry none"),
            ("none", "key", .notFound, "the Secret backup/none does not exist"),
            ("becalm", "bad", .failed, "its entry bad is not in base 64"),
        ] {
            let error = await veleroError { _ = try await secrets.value(ofSecret: name, key: key) }
            #expect(error?.code == code && error?.message.contains(says) == true, "\(error?.message ?? "")")
        }
    }

    @Test("A stranger, a pod that is none and a server of another cluster are told apart")
    func refusals() async throws {
        let server = try await APIServer.start(token: "other")
        defer { try? FileManager.default.removeItem(at: server.account) }
        let stranger = await veleroError { _ = try await server.secrets().value(ofSecret: "becalm", key: "key") }
        #expect(stranger?.code == .accessDenied && stranger?.message.contains("'get' on Secrets") == true)
        let outside = await veleroError {
            _ = try await server.secrets(["KUBERNETES_SERVICE_HOST": ""]).value(ofSecret: "becalm", key: "key")
        }
        #expect(outside?.code == .unavailable && outside?.message.contains("this is no pod") == true)
        let impostor = try await APIServer.start()
        defer { try? FileManager.default.removeItem(at: impostor.account) }
        let tls = await veleroError {
            _ = try await server.secrets(["KUBERNETES_SERVICE_PORT": String(impostor.process.port)])
                .value(ofSecret: "becalm", key: "key")
        }
        #expect(tls?.code == .unavailable && tls?.message.contains("certificate") == true, "\(tls?.message ?? "")")
    }
}
