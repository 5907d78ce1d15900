import HTTPTestServer
import Kubernetes
import Synchronization
import Testing

@testable import Orchestration

@Suite("Snapshots of claims")
struct ClaimSnapshotsTests {
    /// What a driver says after an attempt that failed; the controllers leave it there until the snapshot is ready.
    private static let failure = #""error":{"message":"rpc error: code = Internal\ndesc = no space left"}"#

    private static func snapshot(_ status: String, _ version: Int) -> String {
        #"{"apiVersion":"snapshot.storage.k8s.io/v1","kind":"VolumeSnapshot","metadata":{"name":"becalm-r-data","namespace":"n","resourceVersion":"\#(version)"},"status":{\#(status)}}"#
    }

    /// A server on which a snapshot has one status after the other, and keeps the last.
    private static func server(_ statuses: [String]) throws -> ScriptedServer {
        try ScriptedServer { request in
            let path = request.target.prefix { $0 != "?" }
            switch path {
            case "/api": return [.answer(200, [], #"{"versions":["v1"]}"#)]
            case "/apis":
                return [
                    .answer(
                        200, [], #"{"groups":[{"name":"snapshot.storage.k8s.io","versions":[{"version":"v1"}]}]}"#)
                ]
            case "/apis/snapshot.storage.k8s.io/v1":
                return [
                    .answer(
                        200, [],
                        #"{"resources":[{"name":"volumesnapshots","kind":"VolumeSnapshot","namespaced":true,"verbs":["get"]}]}"#
                    )
                ]
            default: break
            }
            if request.method == "POST" { return [.answer(201, [], snapshot("", 1))] }
            guard request.target.contains("watch=") else {
                return [
                    .answer(
                        200, [],
                        #"{"kind":"VolumeSnapshotList","metadata":{"resourceVersion":"1"},"items":[\#(snapshot("", 1))]}"#
                    )
                ]
            }
            let events = statuses.enumerated().map {
                #"{"type":"MODIFIED","object":\#(snapshot($0.element, $0.offset + 2))}"# + "\n"
            }
            return request.target.contains("resourceVersion=1&") || request.target.hasSuffix("resourceVersion=1")
                ? [.answer(200, [], events.joined())] : [.stall]
        }
    }

    private static func claim() throws -> KubernetesObject {
        try KubernetesObject([
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": ["name": "data", "namespace": "n"],
        ])
    }

    /// What cutting one comes to, and what was reported.
    private static func cut(_ statuses: [String], seconds: Double) async throws -> (JourneyError?, [String]) {
        let server = try server(statuses)
        let client = KubernetesClient(KubernetesConfiguration(server: server.url))
        let told = Words()
        var snapshots = ClaimSnapshots(client: client, run: "r") { told.add($0) }
        snapshots.limits.cutSeconds = seconds
        do {
            let cut = try await snapshots.cut(try claim(), className: "c")
            #expect(cut.name == "becalm-r-data")
            return (nil, told.all)
        } catch let error as JourneyError {
            return (error, told.all)
        }
    }

    private final class Words: Sendable {
        private let words = Mutex<[String]>([])
        func add(_ word: String) { words.withLock { $0.append(word) } }
        var all: [String] { words.withLock { $0 } }
    }

    @Test("A driver that fails and tries again is told of once, and waited for")
    func passes() async throws {
        let (error, told) = try await Self.cut(
            [
                "", Self.failure, Self.failure + #","readyToUse":false"#,
                #""creationTime":"2026-01-01T00:00:00Z",\#(Self.failure)"#,
            ],
            seconds: 60)
        #expect(error == nil)
        #expect(told.count == 1)
        #expect(told.first?.contains("rpc error: code = Internal desc = no space left") == true)
        #expect(told.first?.contains("n/becalm-r-data") == true)
    }

    @Test(
        "A snapshot that is not cut in time is an error with why not, on one line",
        arguments: [
            ([failure], "desc = no space left"), ([#""readyToUse":false"#], "has not said why"),
            ([], "snapshot-controller"),
        ])
    func fails(statuses: [String], words: String) async throws {
        // A machine that is busy may need longer to hear of it at all.
        for seconds in [0.5, 4, 32] {
            let (error, _) = try await Self.cut(statuses, seconds: seconds)
            #expect(error?.status == .failed && error?.kind == "snapshot_failed")
            #expect(error?.message.contains("\n") == false && error?.message.contains("--snapshot-timeout") == true)
            if error?.message.contains(words) == true { return }
        }
        Issue.record("it does not say \(words)")
    }
}
