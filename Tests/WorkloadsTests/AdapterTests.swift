import Kubernetes
import Testing
import Workloads

/// What is expected of one fixture.
struct Expectation: Sendable, CustomTestStringConvertible {
    var name: String
    /// Paths that stop it, with values, or another way.
    var stop: String
    var standing: Standing?
    var completion: Completion? = nil
    var selectors: [String] = []
    var claims: [String] = []
    /// `resource/name`, with `?` behind what is optional; without claims.
    var references: [String] = []
    var findings: [String] = []

    var testDescription: String { name }

    static let all = [
        Expectation(
            name: "job", stop: "/spec/suspend=true", standing: .running,
            selectors: ["batch.kubernetes.io/controller-uid=u-1"], claims: ["ckpt"],
            references: [
                "serviceaccounts/trainer", "secrets/registry?", "configmaps/extra", "secrets/hf", "configmaps/settings",
                "configmaps/maybe?",
            ], findings: ["deletes-itself", "pods-may-overlap"]),
        Expectation(
            name: "cronjob", stop: "/spec/suspend=true", standing: .running, claims: ["data"]),
        Expectation(
            name: "pytorchjob", stop: "/spec/runPolicy/suspend=true", standing: .running,
            selectors: ["training.kubeflow.org/job-name=bert"], claims: ["ckpt"],
            findings: ["deletes-itself", "rendezvous-is-lost"]),
        Expectation(
            name: "mpijob", stop: "/spec/runPolicy/suspend=true", standing: .running, completion: .succeeded,
            selectors: ["training.kubeflow.org/job-name=nccl"], findings: ["managed-elsewhere"]),
        Expectation(
            name: "rayjob", stop: "/spec/suspend=true /spec/shutdownAfterJobFinishes=true", standing: .running,
            selectors: ["job-name=tune", "ray.io/cluster=tune-x7k"], claims: ["results", "gcs"],
            references: ["serviceaccounts/ray"], findings: ["resumes-from-its-beginning"]),
        Expectation(
            name: "volcano", stop: "AbortJob ResumeJob", standing: .running,
            selectors: ["volcano.sh/job-name=gang"], claims: ["data", "gang-pvc-abc"],
            references: ["queues.scheduling.volcano.sh/research"]),
        Expectation(
            name: "pod", stop: "impossible", standing: .running, claims: ["home", "notebook-tmp"]),
        Expectation(
            name: "jobset", stop: "/spec/suspend=true", standing: .stopping("1 jobs active"),
            selectors: ["jobset.sigs.k8s.io/jobset-name=llm"], claims: ["data", "ckpt-llm", "logs-llm"],
            findings: ["claims-deleted-with-owner"]),
        Expectation(
            name: "trainjob", stop: "/spec/suspend=true", standing: .running,
            selectors: ["jobset.sigs.k8s.io/jobset-name=sft"], claims: ["ckpt"],
            references: ["clustertrainingruntimes.trainer.kubeflow.org/torch-distributed", "secrets/hf"]),
        Expectation(
            name: "lws", stop: "/spec/replicas=0", standing: .running,
            selectors: ["leaderworkerset.sigs.k8s.io/name=vllm"],
            claims: [
                "cache-vllm-0", "cache-vllm-0-1", "cache-vllm-0-2", "cache-vllm-1", "cache-vllm-1-1", "cache-vllm-1-2",
            ], findings: ["claims-deleted-on-scale"]),
        Expectation(
            name: "disaggregatedset",
            stop: "/spec/roles/name=prefill/spec/replicas=0 /spec/roles/name=decode/spec/replicas=0",
            standing: .running, selectors: ["disaggregatedset.x-k8s.io/name=pd"], findings: ["autoscaler"]),
        Expectation(
            name: "statefulset", stop: "/spec/replicas=0", standing: .running, selectors: ["app=qdrant"],
            claims: ["store-qdrant-5", "store-qdrant-6"], findings: ["claims-deleted-with-owner", "gitops"]),
        Expectation(
            name: "deployment", stop: "/spec/replicas=0", standing: .running, selectors: ["app=web"]),
        Expectation(
            name: "raycluster", stop: "/spec/suspend=true", standing: .stopping("pods are being deleted"),
            selectors: ["ray.io/cluster=shared"], findings: ["autoscaler"]),
        Expectation(
            name: "rayservice", stop: "/spec/suspend=true", standing: .running,
            selectors: ["ray.io/cluster=serve-a", "ray.io/cluster=serve-b"]),
        Expectation(
            name: "workspace", stop: "jobs.batch/tune-phi", standing: nil, completion: .succeeded,
            selectors: ["kaito.sh/workspace=tune-phi"], claims: ["adapters"],
            references: ["configmaps/lora", "secrets/hf", "secrets/push"]),
        Expectation(
            name: "inferenceset", stop: "/spec/replicas=0", standing: .running, claims: ["lora"],
            references: ["configmaps/vllm"], findings: ["workspaces-deleted-on-scale", "autoscaler"]),
        Expectation(
            name: "ragengine", stop: "deployments.apps/rag", standing: nil, selectors: ["kaito.sh/ragengine=rag"],
            claims: ["index"], references: ["secrets/hf", "secrets/llm", "configmaps/rails"]),
        Expectation(
            name: "workload", stop: "/spec/active=false", standing: .stopping("its quota is still reserved"),
            references: ["localqueues.kueue.x-k8s.io/gpu"]),
        Expectation(
            name: "localqueue", stop: "/spec/stopPolicy=\"HoldAndDrain\"", standing: .running,
            references: ["clusterqueues.kueue.x-k8s.io/all"]),
    ]
}

@Suite("Adapters")
struct AdapterTests {
    private func words(_ stop: StopMethod) -> String {
        switch stop {
        case .fields(let settings): settings.map { "\($0.path)=\($0.value)" }.joined(separator: " ")
        case .command(let stop, let resume):
            "\(stop["action"]?.string ?? "") \(resume["action"]?.string ?? "")"
        case .objects(let references): references.map { "\($0.kind)/\($0.name)" }.joined(separator: " ")
        case .throughKueue: "kueue"
        case .impossible: "impossible"
        }
    }

    @Test("Every fixture is read as its kind's controller would", arguments: Expectation.all)
    func fixtures(_ expected: Expectation) throws {
        let workload = try Fixtures.workload(expected.name)
        #expect(words(workload.stop) == expected.stop)
        #expect(workload.standing == expected.standing)
        #expect(workload.completion == expected.completion)
        #expect(try workload.podSelectors().map(\.description) == expected.selectors)
        #expect(workload.claims.map(\.name) == expected.claims)
        let references = workload.references().filter { $0.role != .claim }
        #expect(references.map { "\($0.kind)/\($0.name)\($0.isOptional ? "?" : "")" } == expected.references)
        #expect(references.allSatisfy { $0.namespace == ($0.kind.isNamespaced ? "ml" : "") })
        #expect(workload.findings.map(\.code) == expected.findings)
        #expect(
            workload.findings.allSatisfy { $0.message.contains(workload.object.name) && !$0.message.contains("\n") })
    }

    @Test("Every kind of the catalog has a fixture, and is found by its kind in every version")
    func catalog() throws {
        let kinds = try Set(Fixtures.all.keys.map { try Fixtures.workload($0).kind })
        let siblings: Set = ["TFJob", "XGBoostJob", "PaddleJob", "JAXJob", "ClusterQueue"]
        for adapter in WorkloadCatalog.standard.adapters where !siblings.contains(adapter.kind.kind) {
            #expect(kinds.contains(adapter.kind), "\(adapter.kind)")
        }
        for adapter in WorkloadCatalog.standard.adapters {
            let owner = OwnerReference(
                apiVersion: adapter.kind.group.isEmpty ? "v9" : "\(adapter.kind.group)/v9", kind: adapter.kind.kind,
                name: "x", uid: "u")
            #expect(WorkloadCatalog.standard.kind(of: owner) == adapter.kind)
        }
        #expect(WorkloadCatalog.standard.adapter(group: "example.com", kind: "Job") == nil)
    }

    @Test(
        "Sibling kinds of the training operator have their own member for replicas",
        arguments: [
            ("TFJob", "tfReplicaSpecs"), ("XGBoostJob", "xgbReplicaSpecs"), ("PaddleJob", "paddleReplicaSpecs"),
            ("JAXJob", "jaxReplicaSpecs"),
        ])
    func siblings(kind: String, member: String) throws {
        let object = try Fixtures.object(
            """
            apiVersion: kubeflow.org/v1
            kind: \(kind)
            metadata: {name: x, namespace: ml}
            spec: {\(member): {Worker: {template: {spec: {volumes: [{name: c, persistentVolumeClaim: {claimName: c}}]}}}}}
            """)
        let workload = try #require(WorkloadCatalog.standard.workload(object))
        #expect(workload.claims == [ClaimReference("c", .named)])
    }

    @Test(
        "What fields stop is held and released to the same bytes, for each kind", arguments: Fixtures.all.keys.sorted())
    func holds(name: String) throws {
        let before = try Fixtures.workload(name)
        var workload = before
        guard case .fields(let settings) = workload.stop else {
            #expect(throws: WorkloadError.self) { try workload.hold() }
            return
        }
        try workload.hold()
        #expect(workload.object != before.object)
        for setting in settings {
            let path = try #require(setting.path.resolve(in: workload.object))
            #expect(workload.object[path] == setting.value)
        }
        // A controller that counts what is wanted must not hide the claims of what is wanted again.
        #expect(workload.claims == before.claims)
        #expect(try workload.release().isEmpty)
        #expect(workload.object.serialized() == before.object.serialized())
    }

    @Test(
        "A stop has ended only when the controller says so and its counters are zero",
        arguments: [
            ("job", "{conditions: [{type: Suspended, status: 'True'}], active: 0, terminating: 2}", "2 terminating"),
            ("job", "{conditions: [{type: Suspended, status: 'True'}]}", ""),
            ("job", "{conditions: [{type: Suspended, status: 'False'}]}", nil),
            ("jobset", "{conditions: [{type: Suspended, status: 'True'}], replicatedJobsStatus: [{active: 0}]}", ""),
            (
                "trainjob", "{conditions: [{type: Suspended, status: 'True'}], jobsStatus: [{active: 1}]}",
                "1 jobs active"
            ),
            ("pytorchjob", "{conditions: [{type: Suspended, status: 'True'}, {type: Running, status: 'True'}]}", nil),
            (
                "pytorchjob", "{conditions: [{type: Suspended, status: 'True'}], replicaStatuses: {W: {active: 1}}}",
                "1 active"
            ),
            ("pytorchjob", "{conditions: [{type: Suspended, status: 'True'}], replicaStatuses: {W: {}}}", ""),
            ("rayjob", "{jobDeploymentStatus: Suspending}", "the Ray cluster is being deleted"),
            ("rayjob", "{jobDeploymentStatus: Suspended}", ""),
            ("raycluster", "{state: suspended}", ""),
            ("rayservice", "{conditions: [{type: Suspended, status: 'True'}]}", ""),
            ("volcano", "{state: {phase: Aborting}, terminating: 3}", "3 terminating"),
            ("volcano", "{state: {phase: Aborted}}", ""), ("workload", "{}", ""),
            ("pod", "{phase: Succeeded}", ""),
        ] as [(String, String, String?)])
    func standing(name: String, status: String, left: String?) throws {
        var object = try Fixtures.workload(name).object
        try object.set(JSONValue(yaml: status), at: ["status"])
        let workload = try #require(WorkloadCatalog.standard.workload(object))
        let expected: Standing = left.map { $0.isEmpty ? .stopped : .stopping($0) } ?? .running
        #expect(workload.standing == expected)
    }

    @Test(
        "Scaled kinds have stopped when none are wanted and none are left",
        arguments: ["lws", "statefulset", "deployment", "inferenceset", "disaggregatedset"])
    func scaled(name: String) throws {
        var workload = try Fixtures.workload(name)
        try workload.hold()
        guard case .stopping = workload.standing else {
            Issue.record("\(name) is \(workload.standing.debugDescription) with replicas left")
            return
        }
        var object = workload.object
        object.remove(at: ["status"])
        #expect(WorkloadCatalog.standard.workload(object)?.standing == .stopped)
    }

    @Test(
        "What is done is told with how it ended",
        arguments: [
            ("job", "{conditions: [{type: Complete, status: 'True'}]}", Completion.succeeded),
            ("job", "{conditions: [{type: Failed, status: 'True'}]}", .failed),
            ("job", "{completionTime: '2026-01-01T00:00:00Z'}", .succeeded),
            ("job", "{conditions: [{type: FailureTarget, status: 'True'}]}", nil),
            ("jobset", "{conditions: [{type: Completed, status: 'True'}]}", .succeeded),
            ("trainjob", "{conditions: [{type: Failed, status: 'True'}]}", .failed),
            ("pytorchjob", "{conditions: [{type: Failed, status: 'True'}]}", .failed),
            ("rayjob", "{jobDeploymentStatus: Complete, jobStatus: SUCCEEDED}", .succeeded),
            ("rayjob", "{jobDeploymentStatus: Complete, jobStatus: STOPPED}", .failed),
            ("rayjob", "{jobDeploymentStatus: Failed}", .failed),
            ("volcano", "{state: {phase: Completed}}", .succeeded),
            ("volcano", "{state: {phase: Terminated}}", .failed), ("volcano", "{state: {phase: Aborted}}", nil),
            ("pod", "{phase: Failed}", .failed),
            ("workload", "{conditions: [{type: Finished, status: 'True', reason: Succeeded}]}", .succeeded),
        ] as [(String, String, Completion?)])
    func completion(name: String, status: String, expected: Completion?) throws {
        var object = try Fixtures.workload(name).object
        try object.set(JSONValue(yaml: status), at: ["status"])
        #expect(WorkloadCatalog.standard.workload(object)?.completion == expected)
    }

    @Test("A Job on a server that cannot suspend is stopped by its parallelism")
    func oldServer() throws {
        let job = BatchJob(servesSuspend: false)
        var workload = Workload(try Fixtures.workload("job").object, job)
        try workload.hold()
        #expect(workload.object["spec", "parallelism"] == 0)
        try workload.release()
        #expect(workload.object["spec", "parallelism"] == 4)
    }

    @Test("A condition that its operator has not written anew does not say that a workload is to be stopped")
    func staleCondition() throws {
        var object = try Fixtures.workload("rayservice").object
        try object.set(.array([["type": "Suspended", "status": "True"]]), at: ["status", "conditions"])
        var workload = try #require(WorkloadCatalog.standard.workload(object))
        #expect(workload.standing == .stopped && !workload.asksToStop)
        try workload.hold()
        #expect(workload.asksToStop)
        try workload.release()
        #expect(!workload.asksToStop)
    }

    @Test("What Kueue manages is stopped through Kueue alone, but for single pods")
    func kueue() throws {
        var object = try Fixtures.workload("job").object
        object.setLabel("kueue.x-k8s.io/queue-name", "gpu")
        var workload = try #require(WorkloadCatalog.standard.workload(object))
        #expect(workload.stop == .throughKueue)
        #expect(throws: WorkloadError.self) { try workload.hold() }
        #expect(
            workload.references().contains(
                ObjectReference(.localQueue, namespace: "ml", name: "gpu", role: .queue)))
        // Kueue would delete it, and nobody makes it anew.
        var pod = try Fixtures.workload("pod").object
        pod.setLabel("kueue.x-k8s.io/queue-name", "gpu")
        #expect(words(try #require(WorkloadCatalog.standard.workload(pod)).stop) == "impossible")
    }

    @Test("A Ray job on somebody else's cluster cannot be stopped")
    func rayClusterSelector() throws {
        var object = try Fixtures.workload("rayjob").object
        try object.set(["ray.io/cluster": "shared"], at: ["spec", "clusterSelector"])
        let workload = try #require(WorkloadCatalog.standard.workload(object))
        #expect(words(workload.stop) == "impossible")
        #expect(workload.findings.contains { $0.severity == .refusal && $0.code == "cannot-be-stopped" })
    }

    @Test("A Volcano command names its job as owner and as target")
    func volcanoCommand() throws {
        guard case .command(let stop, _) = try Fixtures.workload("volcano").stop else {
            Issue.record("no command")
            return
        }
        #expect(stop.kind == "Command" && stop.apiVersion == "bus.volcano.sh/v1alpha1" && stop.namespace == "ml")
        #expect(stop["target", "uid"] == "u-7" && stop["target", "kind"] == "Job" && stop.controller?.uid == "u-7")
        #expect(stop.name.isEmpty && !stop.generateName.isEmpty)
    }

    @Test("A Volcano job without a retry left cannot be stopped")
    func volcanoRetries() throws {
        var object = try Fixtures.workload("volcano").object
        try object.set(4, at: ["status", "retryCount"])
        #expect(
            WorkloadCatalog.standard.workload(object)?.findings.contains {
                $0.code == "retries-used-up" && $0.severity == .refusal
            } == true)
    }

    @Test("Owners of known kinds are named; owners of others are not")
    func owners() throws {
        var object = try Fixtures.workload("pod").object
        object.ownerReferences = [
            OwnerReference(apiVersion: "batch/v1", kind: "Job", name: "run42", uid: "u", isController: true),
            OwnerReference(apiVersion: "example.com/v1", kind: "Thing", name: "t", uid: "v"),
        ]
        let references = try #require(WorkloadCatalog.standard.workload(object)).references()
        #expect(references.filter { $0.role == .owner }.map(\.name) == ["run42"])
    }

    @Test(
        "Malformed objects are read as far as they go, and nothing is fatal",
        arguments: Fixtures.all.keys.sorted(),
        ["1", "[]", "x", "null", "{}", "[[]]", "{a: [1]}", "-9223372036854775808"])
    func malformed(name: String, value: String) throws {
        let whole = try Fixtures.workload(name).object
        let value = try JSONValue(yaml: value)
        for path in places(whole.json, []) where path.elements.count > 1 {
            var object = whole
            try object.set(value, at: path)
            guard var workload = WorkloadCatalog.standard.workload(object) else { continue }
            _ = (workload.stop, workload.standing, workload.completion, workload.claims, workload.references())
            _ = workload.findings
            _ = try? workload.podSelectors()
            _ = try? workload.hold()
            _ = try? workload.prepareForRestore()
            _ = try? workload.gate()
            #expect(try JSONValue(parsing: workload.object.serialized()) == workload.object.json)
        }
    }

    /// Every place in a value, but for the metadata itself, whose type an object demands.
    private func places(_ json: JSONValue, _ path: JSONPath) -> [JSONPath] {
        let below: [JSONPath]
        switch json {
        case .object(let object):
            below = object.members.flatMap { places($0.value, path.appending(.key($0.key))) }
        case .array(let elements):
            below = elements.enumerated().flatMap { places($0.element, path.appending(.index($0.offset))) }
        default: below = []
        }
        return (path.elements.count < 1 ? [] : [path]) + below
    }
}
