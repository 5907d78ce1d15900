import Kubernetes
import KubernetesTesting
import Workloads

/// Deployments of model servers that a gateway reaches through an InferencePool, as llm-d has them.
enum ModelServers {
    static let decode = WorkloadReference(namespace: "ml", kind: "deployments.apps", name: "decode")
    static let prefill = WorkloadReference(namespace: "ml", kind: "deployments.apps", name: "prefill")

    /// Stopped by hand for 100 s, and idle as soon as its servers are.
    static func options(_ holder: String = "tester", drain: QuiescePolicy.Drain? = nil) -> QuiesceOptions {
        var options = QuiesceOptions(holder: holder)
        options.isManual = true
        options.deadlineSeconds = 100
        options.stopSeconds = 20
        options.settleSeconds = 0
        options.policy.drain = drain
        return options
    }

    /// Has somebody stop one of them.
    static func quiesce(
        _ cluster: FakeCluster, _ reference: WorkloadReference = decode,
        _ options: QuiesceOptions = options()
    ) async throws -> QuiesceRecord {
        let live = try await WorkloadFinder(cluster.client).find(reference)
        return try await Quiescer(cluster.client, options: options).quiesce(live)
    }

    /// Has somebody else let one go.
    static func resume(
        _ cluster: FakeCluster, _ reference: WorkloadReference = decode
    ) async throws -> Resumer.Resumption {
        try await Resumer(cluster.client, holder: "another").resume(reference)
    }

    static func deployment(_ role: String, replicas: Int = 2) -> String {
        """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: \(role), namespace: ml, uid: u-\(role), annotations: {mine: kept}}
        spec:
          replicas: \(replicas)
          selector: {matchLabels: {llm-d.ai/role: \(role)}}
          template:
            metadata: {labels: {app: llm, llm-d.ai/role: \(role)}}
            spec: {terminationGracePeriodSeconds: 1, containers: [{name: vllm}]}
        """
    }

    static let pool = """
        apiVersion: inference.networking.k8s.io/v1
        kind: InferencePool
        metadata: {name: pool, namespace: ml, uid: u-pool}
        spec: {selector: {matchLabels: {app: llm}}, targetPorts: [{number: 8000}], endpointPickerRef: {name: epp}}
        """

    /// The weights are 3, none (which means 1), and 0; beside the first there is another backend.
    static let route = """
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: chat, namespace: ml, uid: u-chat}
        spec:
          rules:
            - matches: [{path: {type: PathPrefix, value: /v1}}]
              backendRefs:
                - {group: inference.networking.k8s.io, kind: InferencePool, name: pool, weight: 3}
                - {kind: Service, name: fallback, port: 80, weight: 1}
            - matches: [{path: {type: PathPrefix, value: /v2}}]
              backendRefs: [{name: pool, kind: InferencePool, group: inference.networking.k8s.io}]
            - backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: pool, weight: 0}]
        """

    static func metrics(running: Int, waiting: Int = 0) -> String {
        """
        # TYPE vllm:num_requests_running gauge
        vllm:num_requests_running{engine="0",model_name="a } b"} \(running).0
        vllm:num_requests_waiting{engine="0",model_name="a } b"} \(waiting).0
        vllm:num_requests_running_total 99
        """
    }

    /// Servers of these roles that run and have nothing to do.
    static func cluster(_ roles: [String] = ["decode"], route: String = Self.route) throws -> FakeCluster {
        let cluster = try FakeCluster()
        for yaml in roles.map({ deployment($0) }) + [pool, route] { cluster.put(try Fixtures.object(yaml)) }
        cluster.answerPods { _ in (200, metrics(running: 0)) }
        cluster.playDeployments()
        return cluster
    }

    /// The weights of a route's backends, in their order; nil for none.
    static func weights(_ cluster: FakeCluster, _ route: String = "chat") -> [Int64?] {
        (cluster.get("HTTPRoute", route)?["spec", "rules"]?.array ?? [])
            .flatMap { $0["backendRefs"]?.array ?? [] }.map { $0["weight"]?.int64 }
    }
}
