import Kubernetes
import KubernetesTesting
import Testing
import Workloads

/// What a stop would break, and what it is refused for.
@Suite("Traps", .timeLimit(.minutes(5)))
struct TrapTests {
    private static func findings(_ yaml: String) throws -> [WorkloadFinding] {
        try #require(WorkloadCatalog.standard.workload(try Fixtures.object(yaml))).findings
    }

    private static func refusals(_ yaml: String) throws -> [String] {
        try findings(yaml).filter { $0.severity == .refusal }.map(\.code)
    }

    // MARK: Told by the object

    @Test(
        "Claims of a group's workers go with the leader's StatefulSet, so scaling to 0 is refused; a leader alone keeps its own",
        arguments: [
            (2, "{whenDeleted: Delete}", ["claims-deleted-on-scale"]), (1, "{whenDeleted: Delete}", []),
            (2, "{whenDeleted: Retain, whenScaled: Retain}", []), (2, "{}", []),
            (2, "{whenDeleted: Delete, whenScaled: Delete}", ["claims-deleted-on-scale"]),
        ] as [(Int, String, [String])])
    func groups(size: Int, policy: String, expected: [String]) throws {
        let group = """
            {size: \(size), workerTemplate: {spec: {}}, volumeClaimTemplates: [{metadata: {name: cache}}],
             persistentVolumeClaimRetentionPolicy: \(policy)}
            """
        let set = """
            apiVersion: leaderworkerset.x-k8s.io/v1
            kind: LeaderWorkerSet
            metadata: {name: vllm, namespace: ml}
            spec: {replicas: 2, leaderWorkerTemplate: \(group)}
            """
        let roles = """
            apiVersion: disaggregatedset.x-k8s.io/v1
            kind: DisaggregatedSet
            metadata: {name: pd, namespace: ml}
            spec: {roles: [{name: prefill, spec: {replicas: 1, leaderWorkerTemplate: \(group)}}]}
            """
        #expect(try Self.refusals(set) == expected)
        #expect(try Self.refusals(roles) == expected)
    }

    @Test("A StatefulSet that deletes claims when it is scaled is refused; one that does so when it is deleted is not")
    func statefulSet() throws {
        for (policy, expected) in [("whenScaled", ["claims-deleted-on-scale"]), ("whenDeleted", [])] {
            let set = """
                apiVersion: apps/v1
                kind: StatefulSet
                metadata: {name: db, namespace: ml}
                spec:
                  volumeClaimTemplates: [{metadata: {name: data}}]
                  persistentVolumeClaimRetentionPolicy: {\(policy): Delete}
                """
            #expect(try Self.refusals(set) == expected)
        }
    }

    @Test(
        "A Ray job whose end KubeRay does not take beside shutdownAfterJobFinishes is not suspended",
        arguments: [
            ("{deletionRules: [{policy: DeleteCluster, condition: {jobStatus: SUCCEEDED}}]}", "deletionRules"),
            ("{onSuccess: {policy: DeleteNone}, onFailure: {policy: DeleteCluster}}", "onSuccess DeleteNone"),
            ("{onSuccess: {policy: DeleteSelf}, onFailure: {policy: DeleteNone}}", "onFailure DeleteNone"),
            ("{onSuccess: {policy: DeleteSelf}, onFailure: {policy: DeleteCluster}}", nil), ("{}", nil),
        ] as [(String, String?)])
    func rayDeletion(strategy: String, named: String?) throws {
        var object = try Fixtures.workload("rayjob").object
        try object.set(JSONValue(yaml: strategy), at: ["spec", "deletionStrategy"])
        let workload = try #require(WorkloadCatalog.standard.workload(object))
        let refusal = workload.findings.first { $0.code == "cannot-be-stopped" }
        guard let named else {
            #expect(refusal == nil)
            guard case .fields = workload.stop else {
                Issue.record("it can be suspended")
                return
            }
            return
        }
        #expect(refusal?.message.contains(named) == true && refusal?.severity == .refusal)
        guard case .impossible = workload.stop else {
            Issue.record("\(workload.stop)")
            return
        }
    }

    @Test(
        "A Job without completions is complete once one pod has succeeded and none is active, so it is not stopped then",
        arguments: [
            ("{parallelism: 4}", "{active: 3, succeeded: 1}", .refusal),
            ("{parallelism: 4}", "{active: 3, uncountedTerminatedPods: {succeeded: [u-9]}}", .refusal),
            ("{parallelism: 4}", "{active: 4}", .warning),
            ("{parallelism: 4, completions: 8}", "{active: 3, succeeded: 1}", nil),
            ("{parallelism: 1, completions: 1}", "{active: 1}", nil),
        ] as [(String, String, WorkloadFinding.Severity?)])
    func workQueue(spec: String, status: String, severity: WorkloadFinding.Severity?) throws {
        let findings = try Self.findings(
            """
            apiVersion: batch/v1
            kind: Job
            metadata: {name: queue, namespace: ml}
            spec: \(spec)
            status: \(status)
            """)
        #expect(findings.first { $0.code == "work-queue" }?.severity == severity)
    }

    @Test("An InferenceSet without replicas has no nodes and no caches left, which is refused")
    func inferenceSet() throws {
        let finding = try #require(try Fixtures.workload("inferenceset").findings.first { $0.severity == .refusal })
        #expect(finding.code == "workspaces-deleted-on-scale")
        #expect(finding.message.contains("NodeClaims") && finding.message.contains("cache"))
    }

    @Test("A Kueue Workload of pods alone is not deactivated, for that deletes them; one of a job is")
    func podWorkload() throws {
        var object = try Fixtures.workload("workload").object
        object.ownerReferences = [OwnerReference(apiVersion: "v1", kind: "Pod", name: "p", uid: "u")]
        guard case .impossible = try #require(WorkloadCatalog.standard.workload(object)).stop else {
            Issue.record("its pods would be deleted")
            return
        }
        object.ownerReferences.append(OwnerReference(apiVersion: "apps/v1", kind: "StatefulSet", name: "s", uid: "v"))
        guard case .fields = try #require(WorkloadCatalog.standard.workload(object)).stop else {
            Issue.record("its StatefulSet makes them anew")
            return
        }
    }

    // MARK: GitOps

    @Test(
        "GitOps tools are told by their own marks, of this object, and not where they were told to leave it alone",
        arguments: [
            ("annotations: {argocd.argoproj.io/tracking-id: 'rag:apps/StatefulSet:ml/db'}", "rag"),
            ("annotations: {argocd.argoproj.io/tracking-id: 'team_rag:apps/StatefulSet:ml/db'}", "team/rag"),
            // Copied from what it was made of.
            ("annotations: {argocd.argoproj.io/tracking-id: 'rag:apps/Deployment:ml/other'}", nil),
            ("labels: {argocd.argoproj.io/instance: rag}", "rag"), ("labels: {app.kubernetes.io/instance: rag}", nil),
            (
                "labels: {kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system}",
                "flux-system/apps"
            ),
            (
                "labels: {kustomize.toolkit.fluxcd.io/name: apps}, annotations: {kustomize.toolkit.fluxcd.io/reconcile: disabled}",
                nil
            ),
            ("labels: {helm.toolkit.fluxcd.io/name: db, helm.toolkit.fluxcd.io/namespace: ml}", "ml/db"),
        ] as [(String, String?)])
    func deployers(marks: String, named: String?) throws {
        let object = try Fixtures.object(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db, namespace: ml, \(marks)}\nspec: {replicas: 1}"
        )
        let deployer = Deployer(of: object)
        #expect(deployer.map { $0.namespace.isEmpty ? $0.name : "\($0.namespace)/\($0.name)" } == named)
        let refusals = try #require(WorkloadCatalog.standard.workload(object)).findings.filter { $0.code == "gitops" }
        #expect(refusals.map(\.severity) == (named == nil ? [] : [.refusal]))
        var owned = object
        owned.ownerReferences = [
            OwnerReference(apiVersion: "x.io/v1", kind: "Thing", name: "t", uid: "t", isController: true)
        ]
        #expect(Deployer(of: owned) == nil)
    }

    private static let flux = ClusterKind("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations")
    private static let helm = ClusterKind("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases")
    private static let argo = ClusterKind("argoproj.io", "v1alpha1", "Application", "applications")

    @Test(
        "What GitOps would put back is refused unless overridden; what is suspended, or heals nothing, is not",
        arguments: [
            ("argocd.argoproj.io/instance", "Application", "{syncPolicy: {automated: {selfHeal: true}}}", true),
            ("argocd.argoproj.io/instance", "Application", "{syncPolicy: {automated: {}}}", false),
            ("argocd.argoproj.io/instance", "", "", true),
            ("kustomize.toolkit.fluxcd.io/name", "Kustomization", "{suspend: false}", true),
            ("kustomize.toolkit.fluxcd.io/name", "Kustomization", "{suspend: true}", false),
            ("kustomize.toolkit.fluxcd.io/name", "forbidden", "", true),
            ("helm.toolkit.fluxcd.io/name", "HelmRelease", "{}", false),
            ("helm.toolkit.fluxcd.io/name", "HelmRelease", "{driftDetection: {mode: enabled}}", true),
        ])
    func gitOps(label: String, kind: String, spec: String, isRefused: Bool) async throws {
        let (cluster, reference) = try QuiescerTests.world("statefulset")
        var set = try #require(cluster.get("StatefulSet", "w"))
        set.setLabel(label, "app")
        cluster.put(set)
        cluster.change { $0.kinds += [Self.flux, Self.helm, Self.argo] }
        if kind == "forbidden" { cluster.refuse { $0.path.contains("/kustomizations/") ? 403 : nil } }
        if let served = [Self.flux, Self.helm, Self.argo].first(where: { $0.kind == kind }) {
            cluster.put(
                try Fixtures.object(
                    """
                    apiVersion: \(served.group)/\(served.version)
                    kind: \(kind)
                    metadata: {name: app, namespace: ml}
                    spec: \(spec)
                    """))
        }
        try await Self.expect(cluster, reference, refused: isRefused ? "gitops" : nil)
    }

    // MARK: Told by the cluster

    /// That a stop is refused for a trap, with how to override it, and done once that is; or that it is done at once.
    private static func expect(
        _ cluster: FakeCluster, _ reference: WorkloadReference, refused code: String?, _ words: String = ""
    ) async throws {
        let live = try await WorkloadFinder(cluster.client).find(reference)
        var options = QuiesceOptions(holder: "tester")
        options.isManual = true
        options.deadlineSeconds = 100
        options.stopSeconds = 20
        if let code {
            let before = QuiescerTests.specs(cluster)
            let error = await #expect(throws: QuiesceError.self) {
                try await Quiescer(cluster.client, options: options).quiesce(live)
            }
            let message = error?.message ?? ""
            #expect(error?.code == .refused && message.contains("--override \(code)"), "\(message)")
            #expect(message.contains(words) && !message.contains("\n"), "\(message)")
            #expect(QuiescerTests.specs(cluster) == before && cluster.all("Lease").isEmpty)
            options.policy.overrides = [code]
        }
        _ = try await Quiescer(cluster.client, options: options).quiesce(live)
        #expect(cluster.all("Lease").count == 1)
    }

    private static func own(_ cluster: FakeCluster, _ kind: String, by owner: String) throws {
        var object = try #require(cluster.get(kind, "w"))
        object.ownerReferences = [
            OwnerReference(
                apiVersion: "serving.example.com/v1", kind: owner, name: "chat", uid: "u-o", isController: true)
        ]
        cluster.put(object)
    }

    @Test("What an operator owns that nobody here knows is refused, with the owner's name, unless overridden")
    func unknownOwner() async throws {
        let (cluster, reference) = try QuiescerTests.world("deployment")
        try Self.own(cluster, "Deployment", by: "InferenceService")
        try await Self.expect(cluster, reference, refused: "owned", "InferenceService chat")
    }

    @Test("Traps of what is stopped in a workload's place, or with it, count as its own")
    func parts() async throws {
        let (cron, cronReference) = try QuiescerTests.world("cronjob")
        var job = try #require(cron.get("Job", "w-1"))
        try job.set(2, at: ["spec", "parallelism"])
        try job.set(1, at: ["status", "succeeded"])
        cron.put(job)
        try await Self.expect(cron, cronReference, refused: "work-queue", "Job ml/w-1")

        let (kaito, kaitoReference) = try QuiescerTests.world("workspace")
        kaito.put(
            try Fixtures.object(
                """
                apiVersion: keda.sh/v1alpha1
                kind: ScaledObject
                metadata: {name: scaler, namespace: ml}
                spec: {scaleTargetRef: {kind: StatefulSet, name: w}}
                """))
        try await Self.expect(kaito, kaitoReference, refused: "autoscaler", "StatefulSet ml/w")
    }

    @Test("Someone else's pod that has a claim as a device may write to it as well")
    func sharedDevice() async throws {
        let (cluster, reference) = try QuiescerTests.sharing(
            "{name: x, volumeDevices: [{name: d, devicePath: /dev/d}]}")
        try await Self.expect(cluster, reference, refused: "claim-shared", "Pod ml/other")
    }

    // MARK: Kueue

    @Test("What serves is scaled by its own field under Kueue as well, and no Workload is asked for")
    func servingUnderKueue() async throws {
        for (name, kind) in [("deployment", "Deployment"), ("statefulset", "StatefulSet")] {
            let (cluster, reference) = try QuiescerTests.world(name)
            var object = try #require(cluster.get(kind, "w"))
            object.setLabel("kueue.x-k8s.io/queue-name", "gpu")
            cluster.put(object)
            try await Self.expect(cluster, reference, refused: nil)
            #expect(cluster.get(kind, "w")?["spec", "replicas"] == 0)
            _ = try await Resumer(cluster.client, holder: "x").resume(reference)
            #expect(cluster.get(kind, "w")?["spec", "replicas"] == 3)
        }
    }

    @Test(
        "A restored one that serves gets its replicas back where Kueue is served: Kueue admits its pods, and scales nothing"
    )
    func servingIsLetGo() throws {
        for name in ["deployment", "statefulset", "lws"] {
            var object = try Fixtures.workload(name).object
            object.setLabel("kueue.x-k8s.io/queue-name", "gpu")
            var workload = try #require(WorkloadCatalog.standard.workload(object))
            #expect(try workload.gate() == nil)
            #expect(workload.object["spec", "replicas"] == 0)
            #expect(workload.object.annotations["kueue.x-k8s.io/admission-gated-by"] == nil)
            try workload.liftGate(kueueIsServed: true)
            #expect(workload.object["spec", "replicas"] == object["spec", "replicas"])
        }
    }

    // MARK: Claims

    @Test(
        "Claims whose names only what is made of a workload tells are its own: a DisaggregatedSet's have a revision in them"
    )
    func claimsOfParts() async throws {
        let cluster = try FakeCluster(
            ClusterKind.workloads + [
                ClusterKind("disaggregatedset.x-k8s.io", "v1", "DisaggregatedSet", "disaggregatedsets"),
                ClusterKind("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet", "leaderworkersets"),
            ])
        let group = "{size: 2, workerTemplate: {spec: {}}, volumeClaimTemplates: [{metadata: {name: cache}}]}"
        cluster.put(
            try Fixtures.object(
                """
                apiVersion: disaggregatedset.x-k8s.io/v1
                kind: DisaggregatedSet
                metadata: {name: pd, namespace: ml, uid: u-d}
                spec: {roles: [{name: prefill, spec: {replicas: 1, leaderWorkerTemplate: \(group)}}]}
                """))
        cluster.put(
            try Fixtures.object(
                """
                apiVersion: leaderworkerset.x-k8s.io/v1
                kind: LeaderWorkerSet
                metadata:
                  name: pd-0-a1b2-prefill
                  namespace: ml
                  uid: u-l
                  ownerReferences: [{apiVersion: disaggregatedset.x-k8s.io/v1, kind: DisaggregatedSet, name: pd, uid: u-d, controller: true}]
                spec: {replicas: 1, leaderWorkerTemplate: \(group)}
                """))
        let reference = try WorkloadReference(parsing: "ml/disaggregatedset/pd")
        let live = try await WorkloadFinder(cluster.client).find(reference)
        #expect(try await live.claims() == ["cache-pd-0-a1b2-prefill-0", "cache-pd-0-a1b2-prefill-0-1"])
    }

    // MARK: Ray's store

    @Test(
        "A Ray cluster's store outside of it has its secrets among what it needs, and its name told of when it is restored"
    )
    func rayStore() throws {
        let options = """
            {redisAddress: 'redis:6379', redisPassword: {valueFrom: {secretKeyRef: {name: redis, key: password}}},
             redisUsername: {valueFrom: {secretKeyRef: {name: users, key: u, optional: true}}}, externalStorageNamespace: shared}
            """
        var cluster = try Fixtures.workload("raycluster").object
        var job = try Fixtures.workload("rayjob").object
        var service = try Fixtures.workload("rayservice").object
        try cluster.set(JSONValue(yaml: options), at: ["spec", "gcsFaultToleranceOptions"])
        try job.set(JSONValue(yaml: options), at: ["spec", "rayClusterSpec", "gcsFaultToleranceOptions"])
        try service.set(JSONValue(yaml: options), at: ["spec", "rayClusterConfig", "gcsFaultToleranceOptions"])
        for object in [cluster, job, service] {
            let workload = try #require(WorkloadCatalog.standard.workload(object))
            let secrets = workload.references().filter { $0.kind == .secret }
            #expect(secrets.map { "\($0.name)\($0.isOptional ? "?" : "")" } == ["users?", "redis"])
            #expect(workload.restoreRemarks.count == 1 && workload.restoreRemarks[0].contains("shared"))
        }
        var annotated = try Fixtures.workload("raycluster").object
        #expect(try Fixtures.workload("raycluster").restoreRemarks.isEmpty)
        annotated.setAnnotation("ray.io/external-storage-namespace", "old")
        #expect(WorkloadCatalog.standard.workload(annotated)?.restoreRemarks.first?.contains("old") == true)
    }
}
