internal import Basics
internal import HTTPTestServer
package import Kubernetes
internal import Synchronization

/// An API server that holds objects: the one fake of it in all tests. What controllers would do is a closure, refusals are
/// another, and each request can be the last one before its client's process dies. Real servers are asked in the
/// end-to-end runs.
package final class FakeCluster: Sendable {
    package typealias Request = ClusterState.Request

    /// What is put, watched, waited for and asked.
    let state: Monitor<ClusterState>
    private let server = Mutex<ScriptedServer?>(nil)
    /// Where `get` looks.
    private let namespace: String

    /// A cluster that serves `kinds`.
    ///
    /// - Parameters:
    ///   - namespace: where `get` looks if nothing else is said.
    ///   - collectsGarbage: whether what a Job owns goes with it.
    ///   - streamsWatches: whether a watch tells of changes until it is cut, or ends at once.
    ///   - controllers: what controllers do after each write, and before it is answered.
    package init(
        _ kinds: [ClusterKind] = ClusterKind.workloads, namespace: String = "ml",
        collectsGarbage: Bool = false,
        streamsWatches: Bool = false,
        controllers: @escaping @Sendable (inout ClusterState) -> Void = WorkloadControllers.run
    ) throws {
        self.namespace = namespace
        state = Monitor(
            ClusterState(
                kinds: kinds, controllers: controllers, collectsGarbage: collectsGarbage,
                streamsWatches: streamsWatches))
        let state = state
        let made = try ScriptedServer { request in Self.answer(request, state) }
        server.withLock { $0 = made }
    }

    deinit { state.signal { $0.isStopping = true } }

    /// A client that gives up soon.
    package var client: KubernetesClient { client(patience: 0.05) }

    /// A client that waits so many seconds for a server that is away.
    package func client(patience seconds: Double) -> KubernetesClient {
        let url = server.withLock { $0?.url ?? "" }
        return KubernetesClient(
            KubernetesConfiguration(server: url),
            patience: .init(totalSeconds: seconds, baseSeconds: 0.01))
    }

    // MARK: The test's hands

    /// Puts an object there, over what is there; no controller sees it before the next write.
    package func put(_ object: KubernetesObject) { state.signal { _ = $0.store(object) } }

    /// Takes an object away; `last` is what it was at the end, which nobody was told of before.
    package func remove(_ object: KubernetesObject, last: KubernetesObject? = nil) {
        state.signal { state in
            if let last { state.objects[state.path(object)] = last }
            state.remove(state.path(object))
        }
    }

    /// Changes what it holds and how it behaves.
    package func change(_ body: (inout ClusterState) -> Void) { state.signal { body(&$0) } }

    /// What `body` makes of what it holds.
    package func read<R>(_ body: (ClusterState) -> R) -> R { state.withLock { body($0) } }

    /// The object of that kind and name; nil when there is none.
    package func get(
        _ kind: String, _ name: String, namespace: String? = nil, group: String = ""
    ) -> KubernetesObject? {
        let namespace = namespace ?? self.namespace
        return read { state in
            state.objects.values.first {
                $0.kind == kind && $0.name == name && ($0.namespace == namespace || $0.namespace.isEmpty)
                    && (group.isEmpty || $0.group == group)
            }
        }
    }

    /// All objects of a kind, by name.
    package func all(_ kind: String) -> [KubernetesObject] {
        read { $0.objects.values.filter { $0.kind == kind }.sorted { $0.name < $1.name } }
    }

    /// What there is, in words, for comparisons.
    package var inventory: [String] { read { $0.objects.values.map(\.label).sorted() } }

    /// What was asked so far.
    package var requests: [Request] { read { $0.requests } }

    /// Writes that were done and requests that pods got, in their order.
    package var history: [String] { read { $0.history } }

    /// Requests that pods got.
    package var asked: [String] { read { $0.asked } }

    /// The server's clock goes on so far.
    package func wait(seconds: Int64) { change { $0.ahead += seconds } }

    // MARK: What goes wrong

    package static let closed = 0, lost = -1

    /// Has requests refused with the status that is answered; `closed` closes the connection, `lost` does what is asked
    /// first. `why` is said with it.
    package func refuse(why: String = "", _ body: @escaping @Sendable (Request) -> Int?) {
        change { ($0.refuses, $0.refusal) = (body, why) }
    }

    /// Forbids a verb on a resource: `update httproutes`, `get pods/proxy`.
    package func forbid(_ rule: String) { change { $0.forbidden.insert(rule) } }

    /// From now on, `count` writes are answered; then the client's process is as good as dead: nothing it asks is. With
    /// `afterDoing`, the write that kills it is done.
    package func die(afterWrites count: Int, afterDoing: Bool) {
        change { state in
            state.writesLeft = count
            state.doesLastWrite = afterDoing
        }
    }

    /// A new process comes, `seconds` later.
    package func revive(secondsLater seconds: Int64 = 0) {
        change { state in
            state.isDead = false
            state.writesLeft = nil
            state.ahead += seconds
        }
    }

    package var isDead: Bool { read { $0.isDead } }

    // MARK: Pods and streams

    /// Has pods of Deployments come and go with their replicas, each Ready when pods have been listed `looks` times since.
    package func playDeployments(readyAfterLooks looks: Int = 0) {
        change { state in
            state.playsDeployments = true
            state.looksUntilReady = looks
            state.controllers(&state)
        }
    }

    /// Has pods answer what is asked through the proxy, by the path.
    package func answerPods(_ answer: @escaping @Sendable (String) -> (Int, String)) {
        change { $0.podAnswer = answer }
    }

    /// What comes into being with each Job.
    package func onJob(_ body: @escaping @Sendable (KubernetesObject) -> [KubernetesObject]) {
        change { $0.onJob = body }
    }

    /// Has pods stay when their Job goes.
    package func keepPods(_ keeps: Bool) { change { $0.keepsPods = keeps } }

    /// Has a pod say something.
    package func say(_ line: String, pod: String) {
        change { $0.logs[pod, default: []].append(line) }
    }

    /// Cuts every stream that is open.
    package func cut() { change { $0.cuts += 1 } }

    // MARK: Waiting

    /// Waits until `body` answers something to the objects of a kind.
    package func wait<R: Sendable>(
        for kind: String, _ body: @escaping @Sendable ([KubernetesObject]) -> R?
    ) async throws -> R {
        try await wait { state in body(state.objects.values.filter { $0.kind == kind }) }
    }

    /// Waits until a Job is there.
    package func job() async throws -> KubernetesObject { try await wait(for: "Job") { $0.first } }

    /// Waits until so many requests have come.
    package func waitForRequests(_ count: Int) async throws {
        try await wait { $0.requests.count >= count ? () : nil }
    }

    /// Waits until so many requests that are meant have come behind the first one that `begins`.
    package func waitForRequests(
        _ count: Int, after begins: @escaping @Sendable (Request) -> Bool,
        where isMeant: @escaping @Sendable (Request) -> Bool
    ) async throws {
        try await wait { $0.requests.drop { !begins($0) }.count(where: isMeant) >= count ? () : nil }
    }

    /// Waits until so many log streams have been opened.
    package func waitForFollowers(_ count: Int) async throws {
        try await wait { $0.followers >= count ? () : nil }
    }

    private func wait<R: Sendable>(_ body: @escaping @Sendable (ClusterState) -> R?) async throws -> R {
        try await state.outcome(of: "what a test waits for of the cluster") { body($0) }
    }
}
