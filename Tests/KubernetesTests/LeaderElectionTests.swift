import Basics
import HTTPTestServer
import Synchronization
import Testing

@testable import Kubernetes

@Suite("Who leads by a Lease", .timeLimit(.minutes(5)))
struct LeaderElectionTests {
    /// An API server with one Lease. Whom it does not know any more gets no answers.
    private final class LeaseServer: Sendable {
        private struct State {
            var lease: KubernetesObject?
            var version = 1
            var cutOff: Set<String> = []
        }
        private let state = Mutex(State())
        private let server = Mutex<ScriptedServer?>(nil)

        init() throws {
            let made = try ScriptedServer { [weak self] request in self?.answer(request) ?? [.close] }
            server.withLock { $0 = made }
        }

        /// A client whose requests are told by its name.
        func client(_ name: String) -> KubernetesClient {
            let url = server.withLock { $0?.url ?? "" }
            return KubernetesClient(KubernetesConfiguration(server: "\(url)/\(name)"))
        }

        var lease: KubernetesObject? { state.withLock { $0.lease } }
        func put(_ lease: KubernetesObject) { state.withLock { $0.lease = lease } }
        func cutOff(_ name: String, _ isCut: Bool = true) {
            state.withLock { state in
                if isCut { state.cutOff.insert(name) } else { state.cutOff.remove(name) }
            }
        }

        private func answer(_ request: ScriptedServer.Request) -> [ScriptedServer.Step] {
            state.withLock { state in
                let name = request.target.split(separator: "/").first.map(String.init) ?? ""
                if state.cutOff.contains(name) { return [.close] }
                func status(_ code: Int, _ reason: String) -> [ScriptedServer.Step] {
                    [
                        .answer(
                            code, [("Content-Type", "application/json")],
                            #"{"kind":"Status","apiVersion":"v1","reason":"\#(reason)","code":\#(code)}"#)
                    ]
                }
                if request.method == "GET" {
                    guard let lease = state.lease else { return status(404, "NotFound") }
                    return [.answer(200, [], "\(lease.json)")]
                }
                guard var lease = try? KubernetesObject(parsing: request.body) else { return status(400, "BadRequest") }
                if request.method == "POST", state.lease != nil { return status(409, "AlreadyExists") }
                if request.method == "PUT", state.lease?.resourceVersion != lease.resourceVersion {
                    return status(409, "Conflict")
                }
                state.version += 1
                lease.resourceVersion = "\(state.version)"
                state.lease = lease
                return [.answer(200, [], "\(lease.json)")]
            }
        }
    }

    /// Who has led, in order, and who does now.
    private final class Record: Sendable {
        private let state = Monitor((history: [String](), now: Set<String>(), most: 0))

        func begins(_ name: String) {
            state.signal { state in
                state.history.append("\(name)+")
                state.now.insert(name)
                state.most = max(state.most, state.now.count)
            }
        }
        func ends(_ name: String) {
            state.signal { state in
                state.history.append("\(name)-")
                state.now.remove(name)
            }
        }
        var history: [String] { state.withLock { $0.history } }
        /// How many have led at once.
        var most: Int { state.withLock { $0.most } }
        /// Returns when so much has happened.
        func wait(_ count: Int) async throws {
            try await state.outcome(of: "event \(count)") { $0.history.count >= count ? () : nil }
        }
    }

    private static let timing = LeaderElection.Timing(leaseSeconds: 12, renewSeconds: 8, retrySeconds: 0.5)

    private func candidate(_ name: String, _ server: LeaseServer, _ record: Record) -> OwnedTask<Void, any Error> {
        let election = LeaderElection(
            server.client(name), namespace: "velero", name: "lock", identity: name, timing: Self.timing
        ) { _ in }
        return OwnedTask {
            try await election.run {
                record.begins(name)
                defer { record.ends(name) }
                while true { try await Task.sleep(for: .seconds(60)) }
            }
        }
    }

    private func lease(_ holder: String, renewed: String, seconds: Int = 15) throws -> KubernetesObject {
        try KubernetesObject([
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": ["name": "lock", "namespace": "velero", "uid": "u1", "resourceVersion": "1"],
            "spec": [
                "holderIdentity": .string(holder), "leaseDurationSeconds": .integer(seconds),
                "renewTime": .string(renewed),
            ],
        ])
    }

    @Test("A Lease is over when it has been seen unchanged for as long as it holds, whatever its times say")
    func observation() throws {
        let begin = ContinuousClock.now
        func after(_ seconds: Double) -> ContinuousClock.Instant { begin.advanced(by: .seconds(seconds)) }
        for time in ["1999-01-01T00:00:00.000000Z", "2199-01-01T00:00:00.000000Z", ""] {
            var observation = LeaderObservation()
            let first = try lease("a", renewed: time)
            // It says something new at 15.1 s: counted from then.
            let second = try lease("a", renewed: "2026-01-01T00:00:00.000000Z")
            let seen = [
                observation.isOver(first, at: begin), observation.isOver(first, at: after(14.9)),
                observation.isOver(first, at: after(15)), observation.isOver(second, at: after(15.1)),
                observation.isOver(second, at: after(30)), observation.isOver(second, at: after(30.2)),
            ]
            #expect(seen == [false, false, true, false, false, true] && observation.holder == "a")
        }
        var observation = LeaderObservation()
        let free = observation.isOver(try lease("", renewed: ""), at: begin)
        // A length that nobody means does not keep it for ever.
        let endless = try lease("a", renewed: "", seconds: .max)
        let seen = [observation.isOver(endless, at: begin), observation.isOver(endless, at: after(3601))]
        #expect(free && seen == [false, true])
    }

    @Test("Of two, one leads; told to end it lets go, and the other one need not wait for the Lease's end")
    func handsOver() async throws {
        let (server, record) = (try LeaseServer(), Record())
        let first = candidate("a", server, record)
        try await record.wait(1)
        let second = candidate("b", server, record)
        first.cancel()
        _ = await first.outcome()
        #expect(KubernetesLease.state(try #require(server.lease)).holder != "a")
        try await record.wait(3)
        #expect(record.history == ["a+", "a-", "b+"] && record.most == 1)
        second.cancel()
        _ = await second.outcome()
        #expect(KubernetesLease.state(try #require(server.lease)).holder == "")
        #expect(KubernetesLease.state(try #require(server.lease)).transitions >= 1)
    }

    @Test("One that reaches the server no more stops before another one begins, and comes back as one that stands by")
    func isolated() async throws {
        let (server, record) = (try LeaseServer(), Record())
        let first = candidate("a", server, record)
        try await record.wait(1)
        let second = candidate("b", server, record)
        server.cutOff("a")
        try await record.wait(3)
        #expect(record.history == ["a+", "a-", "b+"] && record.most == 1)
        server.cutOff("a", false)
        second.cancel()
        _ = await second.outcome()
        try await record.wait(5)
        #expect(record.history == ["a+", "a-", "b+", "b-", "a+"] && record.most == 1)
        first.cancel()
        _ = await first.outcome()
    }

    @Test("One that was killed is followed when its Lease has not changed for its length, its clock being wrong or not")
    func killed() async throws {
        for renewed in ["1999-01-01T00:00:00.000000Z", "2199-01-01T00:00:00.000000Z"] {
            let (server, record) = (try LeaseServer(), Record())
            server.put(try lease("dead", renewed: renewed, seconds: 2))
            let begun = ContinuousClock.now
            let heir = candidate("b", server, record)
            try await record.wait(1)
            #expect(ContinuousClock.now - begun >= .seconds(2))
            #expect(KubernetesLease.state(try #require(server.lease)).holder == "b")
            heir.cancel()
            _ = await heir.outcome()
        }
    }

    @Test("What the work throws ends it, and the Lease is let go")
    func fails() async throws {
        struct Broken: Error {}
        let server = try LeaseServer()
        let election = LeaderElection(
            server.client("a"), namespace: "velero", name: "lock", identity: "a", timing: Self.timing
        ) { _ in }
        await #expect(throws: Broken.self) { try await election.run { throw Broken() } }
        #expect(KubernetesLease.state(try #require(server.lease)).holder == "")
    }
}
