import Basics
import Kubernetes
import KubernetesTesting
import Repository
import RepositoryFormat
import Snapshots
import SystemPackage
import Testing
import Workloads

@testable import Orchestration

/// A workload is backed up and restored against a server that holds its objects; what its movers say is made up.
@Suite("Backing a workload up and restoring it")
struct WorkloadJourneyTests {
    private static func claim(
        _ name: String, phase: String = "Bound", modes: Kubernetes.JSONValue = ["ReadWriteOnce"], size: String = "10Gi",
        annotations: Kubernetes.JSONValue = [:], mode: String = "Filesystem"
    ) throws -> KubernetesObject {
        try KubernetesObject([
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": ["name": .string(name), "namespace": "train", "annotations": annotations],
            "spec": [
                "accessModes": modes, "resources": ["requests": ["storage": .string(size)]],
                "storageClassName": "fast", "volumeMode": .string(mode),
            ],
            "status": ["phase": .string(phase), "capacity": ["storage": .string(size)]],
        ])
    }

    /// A StatefulSet that mounts the claims, with its pod.
    private static func world(_ claims: [KubernetesObject], podPhase: String = "Running") async throws -> MoverWorld {
        let world = try await MoverWorld()
        let volumes = claims.map { claim -> Kubernetes.JSONValue in
            ["name": .string(claim.name), "persistentVolumeClaim": ["claimName": .string(claim.name)]]
        }
        let template: Kubernetes.JSONValue = ["containers": [["name": "c", "image": "i"]], "volumes": .array(volumes)]
        let set = try KubernetesObject([
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": ["name": "web", "namespace": "train", "uid": "s"],
            "spec": [
                "replicas": 1, "selector": ["matchLabels": ["app": "web"]],
                "template": ["metadata": ["labels": ["app": "web"]], "spec": template],
            ],
        ])
        let pod = try KubernetesObject([
            "apiVersion": "v1", "kind": "Pod",
            "metadata": ["name": "web-0", "namespace": "train", "labels": ["app": "web"]],
            "spec": template, "status": ["phase": .string(podPhase)],
        ])
        for namespace in ["train", "lab"] {
            world.cluster.put(
                try KubernetesObject([
                    "apiVersion": "v1", "kind": "Namespace", "metadata": ["name": .string(namespace)],
                ]))
            world.cluster.put(
                try KubernetesObject([
                    "apiVersion": "v1", "kind": "ServiceAccount",
                    "metadata": ["name": "default", "namespace": .string(namespace)],
                ]))
        }
        world.cluster.put(
            try KubernetesObject([
                "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": ["name": "fast"],
                "provisioner": "p", "volumeBindingMode": "WaitForFirstConsumer",
            ]))
        for object in claims + [set, pod] { world.cluster.put(object) }
        return world
    }

    private static func backUp(
        _ world: MoverWorld, of workload: String = "train/statefulsets.apps/web",
        _ consistency: QuiescePolicy.Consistency = .checkpoint, stopping: @escaping @Sendable () -> Void = {}
    ) async throws -> (WorkloadBackupResult, remarks: [String]) {
        var quiescing = QuiesceOptions(holder: "test")
        quiescing.policy.consistency = consistency
        let scratch = Array(world.directory.string.utf8)
        var request = WorkloadBackupRequest(
            workload: try WorkloadReference(parsing: workload), quiescing: quiescing,
            movers: try MoverJobTests.settings(), access: MoverWorld.access, scratch: scratch, host: "h", user: "u")
        request.source = .live
        let remarks = Monitor<[String]>([])
        let journey = WorkloadBackupJourney(
            world.cluster.client, request, progress: OperationProgress(), open: { try await world.open() },
            report: { event in
                if case .remark(let text) = event { remarks.signal { $0.append(text) } }
                if case .quiesce(.step(.stopping)) = event { stopping() }
            })
        let result = try await journey.run()
        return (result, remarks.withLock { $0 })
    }

    private static func restore(
        _ snapshot: Identifier, _ world: MoverWorld, to namespace: String = "lab",
        report: @escaping @Sendable (WorkloadEvent) -> Void = { _ in }
    ) async throws -> WorkloadRestoreResult {
        var request = WorkloadRestoreRequest(
            snapshot: snapshot, movers: try MoverJobTests.settings(), access: MoverWorld.access,
            scratch: Array(world.directory.string.utf8))
        request.namespaces = ["train": namespace]
        return try await WorkloadRestoreJourney(
            world.cluster.client, request, open: { try await world.open() }, report: report
        ).run()
    }

    /// Has movers answer as if each had stored `snapshot`, of so many bytes.
    private static func answer(_ world: MoverWorld, _ snapshot: Identifier, bytes: UInt64) {
        world.answer { _ in
            var result = MoverResult(.done)
            (result.snapshot, result.bytes, result.files) = ("\(snapshot)", bytes, 1)
            return result
        }
    }

    private static func claims(_ world: MoverWorld) -> [KubernetesObject] {
        world.cluster.all("PersistentVolumeClaim").filter { $0.namespace == "lab" }
    }

    @Test("A part that was stored twice, by a pod that was taken away at its end and by its successor, stays nowhere")
    func storedTwice() async throws {
        let world = try await MoverWorld()
        let lost = try await world.backUp("some", run: "r")
        let part = try await world.backUp("some", run: "r")
        let other = try await world.backUp("other", run: "q")
        let request = JoinRequest(
            parts: [JoinPart(snapshot: part, place: [])], host: "h", user: "u", paths: ["/w"], tags: ["nightly"],
            program: "test")
        let journey = JoinJourney(repository: try await world.open(), request: request, progress: OperationProgress())
        let joined = try await journey.run()
        _ = try await journey.forgetParts(of: joined)
        #expect(Set(try await world.snapshots()) == [lost, other, joined.snapshot])
        _ = try await journey.forgetParts(of: joined, tagged: MoverJob.partTag(run: "r"))
        #expect(Set(try await world.snapshots()) == [other, joined.snapshot])
    }

    @Test("A claim whose user wants its data left out is left out, said so, and made empty; so is one without a volume")
    func leftOut() async throws {
        let marked: Kubernetes.JSONValue = ["becalm.io/volume-backup": "false"]
        let world = try await Self.world([
            try Self.claim("cache", annotations: marked), try Self.claim("data"),
            try Self.claim("later", phase: "Pending"),
            // What nobody reads need not be readable.
            try Self.claim("raw", annotations: marked, mode: "Block"),
        ])
        let part = try await world.backUp("some", run: "r")
        Self.answer(world, part, bytes: 4)
        let (backup, remarks) = try await Self.backUp(world)
        #expect(backup.volumes.map(\.claim) == ["data"])
        #expect(remarks.filter { $0.contains("becalm.io/volume-backup") }.count == 2, "\(remarks)")

        let repository = try await world.open()
        let files = try await ObjectFiles(repository: repository, scratch: Array(world.directory.string.utf8))
            .load(backup.joined.snapshot, roots: ["becalm"])
        let document = try WorkloadDocument(files, snapshot: "s")
        #expect(document.volumes == ["data"] && document.leftOut == ["cache", "raw"])
        #expect(document.bytes == ["data": 4])
        let words = (document.json["remarks"]?.array ?? []).compactMap(\.string)
        #expect(words.contains { $0.hasPrefix("PersistentVolumeClaim train/cache is left out") }, "\(words)")

        let restored = try await Self.restore(backup.joined.snapshot, world)
        #expect(restored.volumes.map(\.claim) == ["data"])
        #expect(Self.claims(world).map(\.name) == ["cache", "data", "later", "raw"])
        #expect(Self.claims(world).allSatisfy { $0.annotations[RestoredObject.restoring] == nil })
        let empty = restored.remarks.filter { $0.contains(" is empty: ") }
        #expect(empty.count == 3, "\(restored.remarks)")
        #expect(empty.contains("PersistentVolumeClaim lab/later is empty: it had no data when it was backed up"))
        #expect(restored.created.contains("StatefulSet lab/web"))
    }

    @Test("A workload that somebody starts again while its volumes are read is not backed up, and who did it is told")
    func disturbed() async throws {
        for isDisturbed in [false, true] {
            let world = try await Self.world([try Self.claim("data")], podPhase: "Succeeded")
            let part = try await world.backUp("some", run: "r")
            let before = try #require(world.cluster.get("StatefulSet", "web", namespace: "train"))
            world.cluster.onJob { job in
                var result = MoverResult(.done)
                (result.snapshot, result.bytes, result.files) = ("\(part)", 4, 1)
                let pod = MoverCluster.pod(of: job, phase: "Succeeded", state: MoverStandingTests.ended(result))
                // As GitOps does that puts back what is in its files.
                return isDisturbed ? [before, pod] : [pod]
            }
            guard isDisturbed else {
                let (backup, _) = try await Self.backUp(world, .pause)
                #expect(backup.volumes.map(\.claim) == ["data"])
                continue
            }
            let error = await #expect(throws: JourneyError.self) { try await Self.backUp(world, .pause) }
            #expect(error?.status == .notQuiesced && error?.kind == "disturbed", "\(String(describing: error))")
            #expect(error?.message.contains("somebody let StatefulSet train/web go") == true)
            let snapshots = try await world.open().listSnapshots().snapshots
            #expect(!snapshots.contains { $0.manifest?.standstill != nil })
        }
    }

    @Test("A claim that only pods tell of is in the backup with its object, though none is left when objects are taken")
    func injectedClaim() async throws {
        let claim = try Self.claim("data")
        let world = try await Self.world([claim])
        // As a webhook adds it to pods: the set does not name it.
        var set = try #require(world.cluster.get("StatefulSet", "web"))
        set.remove(at: ["spec", "template", "spec", "volumes"])
        world.cluster.put(set)
        let pod = try #require(world.cluster.get("Pod", "web-0"))
        Self.answer(world, try await world.backUp("some", run: "r"), bytes: 4)
        let (backup, _) = try await Self.backUp(world, .pause) { world.cluster.remove(pod) }
        #expect(backup.volumes.map(\.claim) == ["data"])
        let restored = try await Self.restore(backup.joined.snapshot, world)
        #expect(restored.volumes.map(\.claim) == ["data"])
        #expect(Self.claims(world).map(\.name) == ["data"])
    }

    @Test("What a runtime's pods name is in a TrainJob's backup, and secrets are told of")
    func runtime() async throws {
        let world = try await Self.world([])
        world.cluster.change {
            $0.kinds += [
                ClusterKind("", "v1", "ConfigMap", "configmaps"),
                ClusterKind("trainer.kubeflow.org", "v1alpha1", "TrainJob", "trainjobs"),
                ClusterKind(
                    "trainer.kubeflow.org", "v1alpha1", "ClusterTrainingRuntime", "clustertrainingruntimes",
                    isNamespaced: false),
            ]
        }
        let container: Kubernetes.JSONValue = [
            "name": "node", "envFrom": [["configMapRef": ["name": "nccl"]], ["secretRef": ["name": "hub"]]],
        ]
        let pod: Kubernetes.JSONValue = ["serviceAccountName": "trainer", "containers": [container]]
        let job: Kubernetes.JSONValue = ["name": "node", "template": ["spec": ["template": ["spec": pod]]]]
        for json: Kubernetes.JSONValue in [
            [
                "apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob",
                "metadata": ["name": "sft", "namespace": "train", "uid": "t"],
                "spec": ["runtimeRef": ["name": "torch"]],
            ],
            [
                "apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "ClusterTrainingRuntime",
                "metadata": ["name": "torch"], "spec": ["template": ["spec": ["replicatedJobs": [job]]]],
            ],
            ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "nccl", "namespace": "train"]],
            ["apiVersion": "v1", "kind": "ServiceAccount", "metadata": ["name": "trainer", "namespace": "train"]],
        ] { world.cluster.put(try KubernetesObject(json)) }
        let (backup, _) = try await Self.backUp(world, of: "train/trainjob/sft")
        let files = try await ObjectFiles(
            repository: try await world.open(), scratch: Array(world.directory.string.utf8)
        ).load(backup.joined.snapshot, roots: ["resources"])
        let names = files.map { $0.path.suffix(2).joined(separator: "/") }
        #expect(names.contains("train/nccl.json") && names.contains("train/trainer.json"), "\(names)")
        #expect(backup.remarks.filter { $0.contains("Secret train/hub is left out") }.count == 1, "\(backup.remarks)")

        // Who restores it is told, too, while the secret is not there, and what to look for where it may not be read.
        let secret = try KubernetesObject([
            "apiVersion": "v1", "kind": "Secret", "metadata": ["name": "hub", "namespace": "lab"],
        ])
        for (trouble, isThere) in [(nil, false), (403, false), (500, false), (nil, true)] {
            world.cluster.refuse { $0.method == "GET" && $0.path.hasSuffix("/secrets/hub") ? trouble : nil }
            if isThere { world.cluster.put(secret) }
            let told = Monitor<[String]>([])
            _ = try await Self.restore(backup.joined.snapshot, world) { event in
                if case .remark(let text) = event { told.signal { $0.append(text) } }
            }
            let remarks = told.withLock { $0 }
            #expect(remarks.count == (isThere ? 0 : 1), "\(remarks)")
            #expect(remarks.allSatisfy { $0.contains("Secret lab/hub") && $0.contains("TrainJob lab/sft needs") })
            #expect(remarks.allSatisfy { $0.contains("is not known") == (trouble != nil) })
            let restored = world.cluster.all("TrainJob").filter { $0.namespace == "lab" }
            for job in restored { world.cluster.remove(job) }
            #expect(restored.count == 1)
        }
    }

    @Test("A restored Ray cluster whose state is in a store outside is told of")
    func rayStore() async throws {
        let world = try await Self.world([])
        world.cluster.change { $0.kinds.append(ClusterKind("ray.io", "v1", "RayCluster", "rayclusters")) }
        world.cluster.put(
            try KubernetesObject([
                "apiVersion": "ray.io/v1", "kind": "RayCluster",
                "metadata": ["name": "tune", "namespace": "train", "uid": "r"],
                "spec": ["gcsFaultToleranceOptions": ["redisAddress": "r", "externalStorageNamespace": "one"]],
            ]))
        let (backup, _) = try await Self.backUp(world, of: "train/raycluster/tune")
        let restored = try await Self.restore(backup.joined.snapshot, world)
        #expect(restored.created.contains("RayCluster lab/tune"))
        #expect(restored.remarks.contains { $0.hasPrefix("RayCluster lab/tune keeps its state in Redis") })
    }

    @Test("Its InferencePool and the routes to it are in the backup, with their users' weights; routes come back last")
    func routes() async throws {
        let world = try await Self.world([])
        world.cluster.put(
            try KubernetesObject([
                "apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool",
                "metadata": ["name": "pool", "namespace": "train"],
                "spec": [
                    "selector": ["matchLabels": ["app": "web"]], "targetPorts": [["number": 8000]],
                    "endpointPickerRef": ["name": "epp"],
                ],
            ]))
        let backend: Kubernetes.JSONValue = [
            "group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "pool", "weight": 7,
        ]
        var route = try KubernetesObject([
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": ["name": "chat", "namespace": "train"], "spec": ["rules": [["backendRefs": [backend]]]],
        ])
        // Drained when it is taken.
        try RouteDrain.drain(
            &route, [PoolReference(group: "inference.networking.k8s.io", namespace: "train", name: "pool")],
            holder: "train/statefulsets.apps/web")
        world.cluster.put(route)
        let (backup, _) = try await Self.backUp(world)
        let files = try await ObjectFiles(
            repository: try await world.open(), scratch: Array(world.directory.string.utf8)
        ).load(backup.joined.snapshot, roots: ["resources"])
        let stored = try files.filter { $0.path.last == "chat.json" }.map { try KubernetesObject(parsing: $0.content) }
        let kept = try #require(stored.first)
        #expect(kept["spec", "rules", 0, "backendRefs", 0, "weight"] == 7 && kept.annotations.isEmpty)
        #expect(files.contains { $0.path.suffix(2) == ["train", "pool.json"] })

        let elsewhere = try await Self.restore(backup.joined.snapshot, world)
        #expect(elsewhere.remarks.contains { $0.hasPrefix("HTTPRoute train/chat is not created in another namespace") })
        #expect(elsewhere.created.contains("InferencePool lab/pool"))
        let routes = try #require(
            try await world.cluster.client.resource(group: "gateway.networking.k8s.io", kind: "HTTPRoute"))
        _ = try await world.cluster.client.delete(routes, namespace: "train", name: "chat")
        let sets = try #require(try await world.cluster.client.resource(group: "apps", kind: "StatefulSet"))
        _ = try await world.cluster.client.delete(sets, namespace: "train", name: "web")
        let restored = try await Self.restore(backup.joined.snapshot, world, to: "train")
        #expect(restored.created.suffix(2) == ["StatefulSet train/web", "HTTPRoute train/chat"])
        let made = world.cluster.all("HTTPRoute").first { $0.namespace == "train" }
        #expect(made?["spec", "rules", 0, "backendRefs", 0, "weight"] == 7)
    }

    @Test(
        "Pools and routes that may not be made keep nothing from being restored, and are named",
        arguments: [("httproutes", 403), ("httproutes", 404), ("inferencepools", 403)])
    func routesRefused(plural: String, status: Int) async throws {
        let world = try await Self.world([])
        world.cluster.put(
            try KubernetesObject([
                "apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool",
                "metadata": ["name": "pool", "namespace": "train"],
                "spec": ["selector": ["matchLabels": ["app": "web"]], "targetPorts": [["number": 8000]]],
            ]))
        let backend: Kubernetes.JSONValue = [
            "group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "pool",
        ]
        world.cluster.put(
            try KubernetesObject([
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "metadata": ["name": "chat", "namespace": "train"],
                "spec": ["rules": [["backendRefs": [backend]]]],
            ]))
        let (backup, _) = try await Self.backUp(world)
        for (group, kind, name) in [
            ("gateway.networking.k8s.io", "HTTPRoute", "chat"),
            ("inference.networking.k8s.io", "InferencePool", "pool"),
            ("apps", "StatefulSet", "web"),
        ] {
            let resource = try #require(try await world.cluster.client.resource(group: group, kind: kind))
            _ = try await world.cluster.client.delete(resource, namespace: "train", name: name)
        }
        world.cluster.refuse { $0.method == "POST" && $0.path.hasSuffix("/\(plural)") ? status : nil }
        let restored = try await Self.restore(backup.joined.snapshot, world, to: "train")
        #expect(restored.created.contains("StatefulSet train/web"))
        let kind = plural == "httproutes" ? "HTTPRoute train/chat" : "InferencePool train/pool"
        #expect(restored.remarks.contains { $0.hasPrefix("\(kind) is not created") }, "\(restored.remarks)")
    }

    @Test("What the cluster does not know of an object is remarked, and the object is made all the same")
    func unknownFields() async throws {
        let world = try await Self.world([try Self.claim("data")])
        let part = try await world.backUp("some", run: "r")
        Self.answer(world, part, bytes: 4)
        let (backup, _) = try await Self.backUp(world)
        world.cluster.change {
            $0.unknownFields = ["StatefulSet": ["replicas", "template"], "PersistentVolumeClaim": ["volumeMode"]]
        }
        let restored = try await Self.restore(backup.joined.snapshot, world)
        #expect(restored.created.contains("StatefulSet lab/web"))
        let told = restored.remarks.filter { $0.contains("which this cluster does not know") }
        #expect(told.count == 2, "\(restored.remarks)")
        #expect(told.contains { $0.hasPrefix("PersistentVolumeClaim lab/data is without spec.volumeMode,") })
        #expect(told.contains { $0.hasPrefix("StatefulSet lab/web is without spec.replicas, spec.template,") })
    }

    @Test("A block device is stored as a file and restored onto a device as large; what is on it is said to be unknown")
    func block() async throws {
        let world = try await Self.world([try Self.claim("raw", size: "1Mi", mode: "Block")])
        let (bytes, image) = (UInt64(3 << 20) + 512, world.directory.appending("volume"))
        try SystemFiles.write([UInt8](repeating: 7, count: Int(bytes)), to: Array(image.string.utf8))
        let request = BackupRequest(
            paths: [Array(image.string.utf8)], host: "train/raw", user: "root", readsAsDevices: true, program: "test")
        let part = try await BackupJourney(
            repository: try await world.open(), request: request, progress: OperationProgress()
        ).run()
        let jobs = Monitor<[KubernetesObject]>([])
        world.cluster.onJob { job in
            jobs.signal { $0.append(job) }
            var result = MoverResult(.done)
            (result.snapshot, result.bytes, result.files) = ("\(part.snapshot)", bytes, 1)
            return [MoverCluster.pod(of: job, phase: "Succeeded", state: MoverStandingTests.ended(result))]
        }
        let (backup, remarks) = try await Self.backUp(world)
        #expect(remarks.contains { $0.contains("train/raw is a block device") }, "\(remarks)")
        #expect(backup.record.recovery?.devices == ["raw"])
        let words = backup.record.recovery?.words ?? ""
        #expect(words.contains("no checkpoint can be seen") && words.contains("raw holds, a block device"), "\(words)")
        let restored = try await Self.restore(backup.joined.snapshot, world)
        #expect(restored.remarks.contains { $0.contains("asks for 4Mi") }, "\(restored.remarks)")
        let claim = try #require(Self.claims(world).first)
        #expect(claim["spec", "resources", "requests", "storage"] == "4Mi" && claim["spec", "volumeMode"] == "Block")
        let containers = jobs.withLock { $0 }.map { $0["spec", "template", "spec", "containers", 0] ?? .null }
        // None looks for checkpoints: one stores it, one writes it.
        #expect(containers.count == 2 && containers.allSatisfy { $0["volumeDevices"] != nil }, "\(containers)")
        let arguments = (containers.last?["args"]?.array ?? []).compactMap(\.string)
        #expect(arguments.contains("volumes/train/raw"), "\(arguments)")
    }

    @Test(
        "A claim whose restore had not come to its end is stored as it is, told of, and not taken for whole afterwards")
    func beingRestored() async throws {
        let world = try await Self.world([try Self.claim("data", annotations: ["becalm.io/restoring": "x"])])
        Self.answer(world, try await world.backUp("some", run: "r"), bytes: 4)
        let (backup, said) = try await Self.backUp(world)
        #expect(said.contains { $0.contains("train/data is not known to be whole") }, "\(said)")
        let restored = try await Self.restore(backup.joined.snapshot, world)
        #expect(restored.remarks.contains { $0.contains("lab/data was not whole") }, "\(restored.remarks)")
        let claim = try #require(Self.claims(world).first)
        #expect(claim.annotations[RestoredObject.incomplete] == "x")
        #expect(claim.annotations[RestoredObject.restoring] == nil)
    }

    @Test("An annotation that is neither true nor false is refused before anything is done")
    func annotation() async throws {
        let world = try await Self.world([try Self.claim("data", annotations: ["becalm.io/volume-backup": "no"])])
        let error = await #expect(throws: JourneyError.self) { try await Self.backUp(world) }
        #expect(error?.status == .usage && error?.message.contains("is true or false, not `no`") == true)
        #expect(!world.cluster.requests.contains { $0.method == "POST" && $0.path.hasSuffix("/jobs") })
    }

    @Test("A claim that is its pod's alone is refused while that runs, with what to do; not once it has ended")
    func exclusive() async throws {
        let alone = try Self.claim("data", modes: ["ReadWriteOncePod"])
        let world = try await Self.world([alone])
        let error = await #expect(throws: JourneyError.self) { try await Self.backUp(world) }
        #expect(error?.kind == "volume_in_use" && error?.status == .failed)
        let message = error?.message ?? ""
        #expect(message.contains("web-0's alone") && message.contains("--consistency pause"), "\(message)")
        #expect(message.contains("--source snapshot"))
        #expect(!world.cluster.requests.contains { $0.method == "POST" && $0.path.hasSuffix("/jobs") })
        #expect(try await world.left() == [])

        let ended = try await Self.world([alone], podPhase: "Failed")
        Self.answer(ended, try await ended.backUp("some", run: "r"), bytes: 4)
        #expect(try await Self.backUp(ended).0.volumes.map(\.claim) == ["data"])
    }

    @Test(
        "A claim asks for what its data needs, where that is more than its volume was said to have; holes need nothing")
    func room() async throws {
        for isSparse in [false, true] {
            let world = try await Self.world([try Self.claim("data", size: "1Mi")])
            let bytes = 3 << 20
            var part = try await world.backUp(String(repeating: "x", count: isSparse ? 10 : bytes), run: "r")
            if isSparse {
                let file = try FileDescriptor.open(world.directory.appending("volume/file"), .writeOnly)
                try file.closeAfter { try file.resize(to: Int64(bytes)) }
                part = try await world.backUp(nil, run: "r")
            }
            Self.answer(world, part, bytes: UInt64(bytes))
            let (backup, _) = try await Self.backUp(world)
            let restored = try await Self.restore(backup.joined.snapshot, world)
            let claim = try #require(Self.claims(world).first)
            #expect(claim["spec", "resources", "requests", "storage"] == (isSparse ? "1Mi" : "5Mi"))
            let told = restored.remarks.filter { $0.contains("asks for 5Mi") && $0.contains("does not fit in 1Mi") }
            #expect(told.count == (isSparse ? 0 : 1), "\(restored.remarks)")
        }
    }

    @Test("Claims of one pod whose class waits for it are bound together before they are filled; others are not")
    func together() async throws {
        for mode in ["WaitForFirstConsumer", "Immediate", "forbidden", "single"] {
            let claims = try (mode == "single" ? ["data"] : ["data", "logs"]).map { try Self.claim($0) }
            let world = try await Self.world(claims)
            if mode == "Immediate" {
                world.cluster.put(
                    try KubernetesObject([
                        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": ["name": "fast"],
                        "provisioner": "p", "volumeBindingMode": "Immediate",
                    ]))
            }
            let part = try await world.backUp("some", run: "r")
            Self.answer(world, part, bytes: 4)
            let (backup, _) = try await Self.backUp(world)
            if mode == "forbidden" { world.cluster.refuse { $0.path.contains("/storageclasses/") ? 403 : nil } }
            let jobs = Monitor<[KubernetesObject]>([])
            world.cluster.onJob { job in
                jobs.signal { $0.append(job) }
                var result = MoverResult(.done)
                result.snapshot = "\(part)"
                let word = MoverStandingTests.ended(result)
                return [MoverCluster.pod(of: job, phase: "Succeeded", state: word)]
            }
            _ = try await Self.restore(backup.joined.snapshot, world)
            let made = jobs.withLock { $0 }
            let counts = made.map { job in
                (job["spec", "template", "spec", "volumes"]?.array ?? []).count { $0["persistentVolumeClaim"] != nil }
            }
            let wanted = ["Immediate": [1, 1], "single": [1]][mode] ?? [2, 1, 1]
            #expect(counts == wanted, "\(mode)")
        }
    }
}
