import Basics
import HTTPTestServer
import Logging
import Synchronization
import Testing

@testable import Kubernetes

@Suite("Configuration", .timeLimit(.minutes(10)))
struct ConfigurationTests {
    static let file = """
        apiVersion: v1
        kind: Config
        current-context: prod
        clusters:
        - name: c
          cluster: {server: "https://api.example:6443/base/", certificate-authority: pki/ca.crt, tls-server-name: api}
        - name: plain
          cluster: {server: "http://127.0.0.1:8080", insecure-skip-tls-verify: true, proxy-url: "socks5://p:1080"}
        contexts:
        - {name: prod, context: {cluster: c, user: u, namespace: train}}
        - {name: plain, context: {cluster: plain, user: t}}
        - {name: broken, context: {cluster: nowhere}}
        - {name: stranger, context: {cluster: c, user: nobody}}
        users:
        - {name: u, user: {client-certificate-data: Q0VSVA==, client-key: /keys/u.key, as: root, as-groups: [a, b]}}
        - {name: t, user: {token: 12345, tokenFile: token}}
        """

    private func load(
        _ files: [String], context: String? = nil, _ more: [String: String] = [:]
    ) async throws -> KubernetesConfiguration {
        var environment = more
        environment["KUBECONFIG"] = files.joined(separator: ":")
        return try await KubernetesConfiguration.load(context: context, environment: environment)
    }

    private func failure(_ body: () async throws -> Void) async -> KubernetesError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? KubernetesError
        }
    }

    @Test("A context is read with all that it says, relative paths from the file's directory")
    func context() async throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("sub/config", Self.file)
        let prod = try await load([path])
        #expect(prod.server == "https://api.example:6443/base" && prod.namespace == "train")
        #expect(prod.authority == .file("\(directory.path)/sub/pki/ca.crt") && prod.serverName == "api")
        #expect(prod.clientCertificate == .bytes(Array("CERT".utf8)) && prod.clientKey == .file("/keys/u.key"))
        #expect(prod.impersonatedUser == "root" && prod.impersonatedGroups == ["a", "b"] && !prod.skipsVerification)
        let plain = try await load([path], context: "plain")
        #expect(plain.namespace == "default" && plain.proxy == "socks5://p:1080" && plain.skipsVerification)
        // The file goes before the token, as in client-go.
        guard case .tokenFile("\(directory.path)/sub/token") = plain.authentication else {
            Issue.record("\(plain.authentication)")
            return
        }
    }

    @Test("Of several files the first that says something counts, and a missing one is passed over")
    func merging() async throws {
        let directory = try TemporaryDirectory()
        let first = try directory.write(
            "a/one", "current-context: plain\nclusters: [{name: plain, cluster: {server: 'https://first'}}]\n")
        let second = try directory.write("b/two", Self.file)
        let merged = try await load(["\(directory.path)/none", first, second])
        #expect(merged.server == "https://first" && !merged.skipsVerification)
        #expect(try await load([first, second], context: "prod").server == "https://api.example:6443/base")
    }

    @Test("What is missing or malformed is named, and secrets are not")
    func faults() async throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("config", Self.file)
        for (context, words) in [
            ("none", "has no context none; it has broken, plain, prod, stranger"), ("broken", "nowhere"),
            ("stranger", "nobody"),
        ] {
            let error = await failure { _ = try await load([path], context: context) }
            #expect(error?.code == .configuration && error?.message.contains(words) == true, "\(context)")
        }
        let texts = [
            "a: [", "- 1", "current-context: x\ncontexts: 5", "a: 1\na: 2",
            "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'ftp://x'}}]",
            Self.file.replacing("Q0VSVA==", with: "s3cr3t!"), Self.file.replacing("client-key: /keys/u.key,", with: ""),
            Self.file.replacing("as: root", with: "as: root, auth-provider: {name: gcp}"),
            Self.file.replacing(
                "as: root", with: "as: root, exec: {command: x, apiVersion: client.authentication.k8s.io/v1alpha1}"),
            "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
                + "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n",
        ]
        for (number, text) in texts.enumerated() {
            let bad = try directory.write("bad\(number)", text)
            let error = await failure { _ = try await load([bad]) }
            #expect(error?.code == .configuration, "\(number): \(error?.message ?? "taken")")
            #expect(error?.message.contains("s3cr3t") == false)
        }
        let none = await failure { _ = try await load(["/nowhere/config"]) }
        #expect(none?.message == "there is no kubeconfig /nowhere/config; correct its path")
        let nothing = await failure { _ = try await KubernetesConfiguration.load(environment: [:]) }
        #expect(nothing?.code == .configuration)
    }

    @Test("A pod's service account comes before the home directory, its token is read again")
    func inCluster() async throws {
        let directory = try TemporaryDirectory()
        try directory.write("token", "first\n")
        try directory.write("namespace", "train\n")
        try directory.write("home/.kube/config", Self.file)
        let home = ["HOME": "\(directory.path)/home"]
        let inside = ["KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"]
        let pod = try await KubernetesConfiguration.load(
            environment: home.merging(inside) { $1 }, serviceAccount: directory.path)
        #expect(pod.server == "https://[fd00::1]:443" && pod.namespace == "train" && pod.authority == nil)
        let outside = try await KubernetesConfiguration.load(environment: home, serviceAccount: directory.path)
        #expect(outside.namespace == "train" && outside.server.hasPrefix("https://api.example"))
        let clock = TestClock(Timestamp(seconds: 1_000_000))
        let credentials = Credentials(pod, clock: clock, logger: Logger(label: "test"))
        #expect(try await credentials.material().authorization == "Bearer first")
        try directory.write("token", "second")
        #expect(try await credentials.material().authorization == "Bearer first")
        clock.advance(bySeconds: 61)
        let second = try await credentials.material()
        #expect(second.authorization == "Bearer second")
        try directory.write("token", "third")
        #expect(credentials.invalidate(second))
        #expect(try await credentials.material().authorization == "Bearer third")
        try directory.write("token", "two words")
        clock.advance(bySeconds: 61)
        let third = try await credentials.material()
        #expect(third.authorization == "Bearer third", "it is good until the server refuses it")
        #expect(credentials.invalidate(third))
        let error = await failure { _ = try await credentials.material() }
        #expect(error?.code == .configuration && error?.message.contains("words") == false)
    }

    /// A plugin that counts its runs and prints what it was told.
    private func plugin(_ directory: TemporaryDirectory, _ status: String) throws -> String {
        let script = """
            #!/bin/sh
            echo run >>"$(dirname "$0")/runs"
            printf '%s' "$KUBERNETES_EXEC_INFO" >"$(dirname "$0")/info"
            echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":\(status)}'
            """
        return try directory.write("plugin", script, executable: true)
    }

    private func runs(_ directory: TemporaryDirectory) async throws -> Int {
        try await SmallFile.readIfPresent("\(directory.path)/runs").map { $0.count { $0 == 0x0a } } ?? 0
    }

    @Test("A plugin's credential is kept until shortly before its end, or until the server refuses it")
    func execPlugin() async throws {
        let directory = try TemporaryDirectory()
        _ = try plugin(directory, #"{"token":"t0k3n","expirationTimestamp":"2026-01-01T01:00:00Z"}"#)
        let text = Self.file.replacing(
            "as: root",
            with: "as: root, exec: {command: ./plugin, apiVersion: client.authentication.k8s.io/v1, "
                + "provideClusterInfo: true}")
        let path = try directory.write("config", text.replacing("certificate-authority: pki/ca.crt,", with: ""))
        try directory.write("u.key", "KEY")
        var configuration = try await load([path], ["PATH": "/usr/bin:/bin"])
        configuration.clientKey = .bytes(Array("KEY".utf8))
        let clock = TestClock(try #require(CalendarTime.parse(rfc3339: "2026-01-01T00:00:00Z")))
        let credentials = Credentials(configuration, clock: clock, logger: Logger(label: "test"))
        let many = try await withThrowingTaskGroup(of: String?.self) { group in
            for _ in 0..<8 { group.addTask { try await credentials.material().authorization } }
            return try await group.reduce(into: Set<String>()) { if let text = $1 { $0.insert(text) } }
        }
        #expect(many == ["Bearer t0k3n"])
        #expect(try await runs(directory) == 1)
        let info = try JSONValue(parsing: try #require(try await SmallFile.readIfPresent("\(directory.path)/info")))
        #expect(
            info["spec", "cluster", "server"] == "https://api.example:6443/base" && info["spec", "interactive"] == false
        )
        clock.advance(bySeconds: 3500)
        _ = try await credentials.material()
        #expect(try await runs(directory) == 1)
        clock.advance(bySeconds: 50)
        let material = try await credentials.material()
        #expect(try await runs(directory) == 2)
        #expect(credentials.invalidate(material))
        _ = try await credentials.material()
        #expect(try await runs(directory) == 3)
    }

    @Test("A plugin that fails leaves its credential in use to its end and no longer, and a refused one not at all")
    func failedRenewal() async throws {
        let directory = try TemporaryDirectory()
        let status = #"{"token":"t0k3n","expirationTimestamp":"2026-01-01T01:00:00Z"}"#
        let command = try plugin(directory, status)
        var configuration = KubernetesConfiguration(server: "https://x")
        configuration.authentication = .exec(.init(command: command, inherited: ["PATH": "/usr/bin:/bin"]))
        let clock = TestClock(try #require(CalendarTime.parse(rfc3339: "2026-01-01T00:00:00Z")))
        let credentials = Credentials(configuration, clock: clock, logger: Logger(label: "test"))
        _ = try await credentials.material()
        let broken = "#!/bin/sh\necho run >>\"$(dirname \"$0\")/runs\"\nexit 1\n"
        try directory.write("plugin", broken, executable: true)
        clock.advance(bySeconds: 3545)
        for _ in 0..<3 { #expect(try await credentials.material().authorization == "Bearer t0k3n") }
        #expect(try await runs(directory) == 2, "it is not asked again at once")
        clock.advance(bySeconds: 11)
        let kept = try await credentials.material()
        #expect(try await runs(directory) == 3)
        #expect(credentials.invalidate(kept))
        #expect(await failure { _ = try await credentials.material() }?.code == .unauthorized)

        _ = try plugin(directory, status)
        #expect(try await credentials.material().authorization == "Bearer t0k3n")
        try directory.write("plugin", broken, executable: true)
        clock.advance(bySeconds: 60)
        #expect(await failure { _ = try await credentials.material() }?.code == .unauthorized)
    }

    @Test("What a cluster says to plugins reaches them, and what is said of whom to act as is read")
    func extensions() async throws {
        let directory = try TemporaryDirectory()
        _ = try plugin(directory, #"{"token":"t"}"#)
        let said = "[{name: x, extension: 1}, {name: client.authentication.k8s.io/exec, extension: {audience: [a]}}]"
        let text = """
            current-context: c
            clusters: [{name: c, cluster: {server: "https://x", extensions: \(said)}}]
            contexts: [{name: c, context: {cluster: c, user: u}}]
            users:
            - name: u
              user:
                as: jane
                as-user-extra: {scopes: [view, 1], empty: []}
                exec: {command: ./plugin, apiVersion: client.authentication.k8s.io/v1, provideClusterInfo: true}
            """
        let configuration = try await load([try directory.write("config", text)], ["PATH": "/usr/bin:/bin"])
        #expect(configuration.impersonatedExtra == ["scopes": ["view", "1"], "empty": []])
        _ = try await Credentials(configuration, clock: SystemWallClock(), logger: Logger(label: "test")).material()
        let info = try JSONValue(parsing: try #require(try await SmallFile.readIfPresent("\(directory.path)/info")))
        #expect(info["spec", "cluster", "config"] == ["audience": ["a"]])
        let nobody = try directory.write("nobody", text.replacing("as: jane", with: "as: \"\""))
        let error = await failure { _ = try await load([nobody]) }
        #expect(error?.code == .configuration && error?.message.contains("as-user-extra") == true)
    }

    @Test("A plugin that fails, hangs or talks nonsense is told by name, and not what it printed", arguments: 0..<5)
    func badPlugins(which: Int) async throws {
        let directory = try TemporaryDirectory()
        var command = ExecPluginPath.none
        switch which {
        case 0: command = try directory.write("p", "#!/bin/sh\necho s3cr3t\nexit 7\n", executable: true)
        case 1: command = try directory.write("p", "#!/bin/sh\nexec sleep 600\n", executable: true)
        case 2: command = try directory.write("p", "#!/bin/sh\necho s3cr3t\n", executable: true)
        case 3: command = try plugin(directory, #"{"s3cr3t":1}"#)
        default: command = "\(directory.path)/none"
        }
        var configuration = KubernetesConfiguration(server: "https://x")
        configuration.authentication = .exec(
            .init(command: command, installHint: "install\nit", inherited: ["PATH": "/usr/bin:/bin"], seconds: 1))
        let credentials = Credentials(configuration, clock: SystemWallClock(), logger: Logger(label: "test"))
        let error = await failure { _ = try await credentials.material() }
        #expect(error?.code == .unauthorized && error?.message.contains(command) == true)
        #expect(error?.message.contains("s3cr3t") == false && error?.message.contains("\n") == false)
        if which != 2, which != 3 { #expect(error?.message.contains("install it") == true) }
    }

    private enum ExecPluginPath { static let none = "" }
}

/// A clock that the test moves.
final class TestClock: WallClock {
    private let time: Mutex<Timestamp>

    init(_ time: Timestamp) { self.time = Mutex(time) }

    func now() -> Timestamp { time.withLock { $0 } }

    func advance(bySeconds seconds: Double) { time.withLock { $0 = $0.advanced(bySeconds: seconds) } }
}
