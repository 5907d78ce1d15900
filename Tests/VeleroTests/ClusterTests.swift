import Basics
import HTTPTestServer
import Kubernetes
import Logging
import SystemPackage
import Testing
import Velero

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// What the actions ask of an API server, over HTTP.
@Suite("The plugin's cluster", .timeLimit(.minutes(10)))
struct ClusterTests {
    /// A kubeconfig file that goes with the value.
    private final class Kubeconfig: Sendable {
        let path: String

        init(_ server: String) throws {
            path = "/tmp/becalm-velero-\(UInt64.random(in: 0 ... .max))"
            let text = """
                apiVersion: v1
                kind: Config
                current-context: c
                clusters: [{name: k, cluster: {server: "\(server)"}}]
                users: [{name: u, user: {token: t}}]
                contexts: [{name: c, context: {cluster: k, user: u}}]
                """
            let file = try FileDescriptor.open(
                path, .writeOnly, options: [.create, .exclusiveCreate], permissions: .ownerReadWrite)
            try file.closeAfter { _ = try file.writeAll(text.utf8) }
        }

        deinit { _ = path.withPlatformString { unlink($0) } }
    }

    private func environment(_ file: Kubeconfig) -> PluginEnvironment {
        PluginEnvironment(
            variables: ["KUBECONFIG": file.path, "VELERO_NAMESPACE": "velero"],
            logger: Logger(label: "test", factory: { _ in ActionWorld.Log() }))
    }

    private func answer(_ json: String, _ status: Int = 200) -> [ScriptedServer.Step] {
        [.answer(status, [("Content-Type", "application/json")], json)]
    }

    @Test("Settings come from the ConfigMap with the plugin's labels in Velero's namespace")
    func settings() async throws {
        let server = try ScriptedServer { _ in
            answer(
                #"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"c","namespace":"velero"},"data":{"resources":"jobs.batch"}}]}"#
            )
        }
        let file = try Kubeconfig(server.url)
        let action = try #require(VeleroActions.itemBlockActions(environment(file)).first)
        #expect(server.requests.isEmpty)
        #expect(try await action.appliesTo().includedResources == ["jobs.batch"])
        let target = try #require(server.requests.first?.target)
        #expect(target.hasPrefix("/api/v1/namespaces/velero/configmaps?"))
        #expect(target.contains("velero.io%2Fplugin-config") && target.contains("ItemBlockAction"))
        #expect(server.requests.first?.headers["authorization"] == "Bearer t")
    }

    @Test("Policies and volumes are read for a claim, and what is not there is not")
    func objects() async throws {
        let server = try ScriptedServer { request in
            switch request.target.prefix(while: { $0 != "?" }) {
            case "/api/v1/namespaces/velero/configmaps":
                answer(#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{},"items":[]}"#)
            case "/api/v1/namespaces/velero/configmaps/policies":
                answer(
                    #"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"policies","namespace":"velero"},"data":{"p":"version: v1\nvolumePolicies:\n- {conditions: {csi: {}}, action: {type: skip}}\n"}}"#
                )
            case "/api/v1/persistentvolumes/pv-1":
                answer(
                    #"{"kind":"PersistentVolume","apiVersion":"v1","metadata":{"name":"pv-1"},"spec":{"csi":{"driver":"d"}}}"#
                )
            default:
                answer(#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}"#, 404)
            }
        }
        let file = try Kubeconfig(server.url)
        let action = try #require(VeleroActions.backupItemActions(environment(file)).first { $0.name == .volumeBackup })
        let item = try ActionWorld.bytes(VolumePolicyTests.claim)
        let backup = { (name: String) in
            Array(
                #"{"metadata":{"name":"b","namespace":"velero"},"spec":{"resourcePolicy":{"kind":"configmap","name":"\#(name)"}}}"#
                    .utf8)
        }
        #expect(try await action.execute(item: item, backup: backup("policies")).item == item)
        #expect(server.requests.contains { $0.target == "/api/v1/persistentvolumes/pv-1" })
        #expect(try await action.execute(item: item, backup: backup("gone")).item == item)
        #expect(server.requests.contains { $0.target == "/api/v1/namespaces/velero/configmaps/gone" })
        let asked = server.requests.count
        #expect(try await action.execute(item: item, backup: backup("policies")).item == item)
        #expect(server.requests.count == asked + 1, "the volume alone is asked for anew")
    }

    @Test("A permission that is missing leaves the settings as they are by themselves, and is asked for once")
    func forbidden() async throws {
        let server = try ScriptedServer { _ in
            answer(
                #"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"configmaps is forbidden","reason":"Forbidden","code":403}"#,
                403)
        }
        let file = try Kubeconfig(server.url)
        let action = try #require(VeleroActions.itemBlockActions(environment(file)).first)
        for _ in 0..<3 { #expect(try await action.appliesTo().includedResources.contains("jobs.batch")) }
        #expect(server.requests.count == 1)
    }

    @Test("Outside a cluster there is nothing, and the settings are the default ones")
    func none() async throws {
        let environment = PluginEnvironment(
            variables: [:], logger: Logger(label: "test", factory: { _ in ActionWorld.Log() }))
        let action = try #require(VeleroActions.itemBlockActions(environment).first)
        #expect(try await action.appliesTo().includedResources.contains("jobs.batch"))
    }

    @Test("In a pod without a token nothing is configured")
    func noToken() async throws {
        let environment = PluginEnvironment(
            variables: ["KUBERNETES_SERVICE_HOST": "127.0.0.1"],
            logger: Logger(label: "test", factory: { _ in ActionWorld.Log() }))
        let action = try #require(VeleroActions.itemBlockActions(environment).first)
        #expect(try await action.appliesTo().includedResources.contains("jobs.batch"))
        let related = try await action.relatedItems(
            item: try ActionWorld.bytes(BackupActionTests.job), backup: Array(ActionWorld.backup.utf8))
        #expect(related.contains { $0.resource == "persistentvolumeclaims" })
    }
}
