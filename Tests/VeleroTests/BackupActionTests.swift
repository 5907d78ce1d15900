import Kubernetes
import Testing
import Velero

@Suite("Actions on items that are backed up")
struct BackupActionTests {
    static let job = """
        apiVersion: batch/v1
        kind: Job
        metadata: {name: run42, namespace: ml, uid: u-1, annotations: {becalm.io/consistency: pause}}
        spec:
          template:
            spec:
              serviceAccountName: trainer
              containers:
                - {name: t, env: [{name: T, valueFrom: {secretKeyRef: {name: hf, key: t}}}]}
              volumes: [{name: c, persistentVolumeClaim: {claimName: ckpt}}]
        status: {active: 1}
        """

    private func claims(_ names: String...) -> [ResourceIdentifier] {
        names.map { ResourceIdentifier(group: "", resource: "persistentvolumeclaims", namespace: "ml", name: $0) }
    }

    // MARK: training-group

    @Test("A workload belongs together with what it needs, a pod with its owner, a claim with who made it")
    func group() async throws {
        let world = ActionWorld()
        let related = try await world.group.relatedItems(
            item: try ActionWorld.bytes(Self.job), backup: Array(ActionWorld.backup.utf8))
        #expect(
            related == claims("ckpt") + [
                ResourceIdentifier(group: "", resource: "serviceaccounts", namespace: "ml", name: "trainer"),
                ResourceIdentifier(group: "", resource: "secrets", namespace: "ml", name: "hf"),
            ])
        for (kind, resource) in [("Pod", "spec: {}"), ("PersistentVolumeClaim", "spec: {}")] {
            let owned = try ActionWorld.bytes(
                """
                apiVersion: v1
                kind: \(kind)
                metadata:
                  name: x
                  namespace: ml
                  ownerReferences:
                    - {apiVersion: jobset.x-k8s.io/v1alpha2, kind: JobSet, name: llm, uid: u, controller: true}
                    - {apiVersion: example.com/v1, kind: Thing, name: t, uid: v}
                \(resource)
                """)
            #expect(
                try await world.group.relatedItems(item: owned, backup: Array(ActionWorld.backup.utf8)) == [
                    ResourceIdentifier(group: "jobset.x-k8s.io", resource: "jobsets", namespace: "ml", name: "llm")
                ])
        }
    }

    @Test("Secrets are left out of the group where the ConfigMap says so")
    func groupWithoutSecrets() async throws {
        let world = ActionWorld(.trainingGroup, ["secrets": "exclude"])
        let related = try await world.group.relatedItems(
            item: try ActionWorld.bytes(Self.job), backup: Array(ActionWorld.backup.utf8))
        #expect(!related.contains { $0.resource == "secrets" } && related.count == 2)
    }

    // MARK: quiesce

    private func quiesce(
        _ item: [UInt8], _ world: ActionWorld, phase: String = "InProgress"
    ) async throws -> BackupItemOutcome {
        let backup = #"{"metadata":{"name":"b","namespace":"velero","uid":"b-1"},"status":{"phase":"\#(phase)"}}"#
        return try await world.backupAction(.quiesce).execute(item: item, backup: Array(backup.utf8))
    }

    @Test("A marked workload that runs is written down as it is, told as a warning, and nothing is promised")
    func marked() async throws {
        let world = ActionWorld()
        let item = try ActionWorld.bytes(Self.job)
        let outcome = try await quiesce(item, world)
        var stored = try KubernetesObject(parsing: outcome.item)
        let record = try JSONValue(parsing: try #require(stored.annotations["becalm.io/captured"]))
        #expect(record["asked"] == "pause" && record["standing"] == "running")
        #expect(outcome.operation == nil && outcome.postOperationItems.isEmpty)
        #expect(outcome.additionalItems.map(\.name) == ["ckpt", "trainer", "hf"])
        #expect(world.log.lines.contains { $0.hasPrefix("warning") && $0.contains("Job ml/run42 runs") })
        stored.setAnnotation("becalm.io/captured", nil)
        #expect(stored == (try KubernetesObject(parsing: item)))
    }

    @Test("A workload that stands still is written down as such, without a warning of it running")
    func stopped() async throws {
        let world = ActionWorld()
        var job = try ActionWorld.object(Self.job)
        try job.set(["conditions": [["type": "Suspended", "status": "True"]]], at: ["status"])
        let stored = try KubernetesObject(parsing: try await quiesce(job.serialized(), world).item)
        #expect(stored.annotations["becalm.io/captured"]?.contains(#""standing":"stopped""#) == true)
        #expect(!world.log.lines.contains { $0.contains("runs while") })
    }

    @Test("While a backup is finalized nothing is looked at", arguments: ["Finalizing", "FinalizingPartiallyFailed"])
    func finalizing(phase: String) async throws {
        let world = ActionWorld()
        let item = try ActionWorld.bytes(Self.job)
        let outcome = try await quiesce(item, world, phase: phase)
        #expect(outcome.item == item && outcome.additionalItems.isEmpty && world.log.lines.isEmpty)
    }

    @Test("What is not asked for, done, or another workload's comes back byte for byte")
    func unchanged() async throws {
        let world = ActionWorld()
        var unmarked = try ActionWorld.object(Self.job)
        unmarked.setAnnotation("becalm.io/consistency", nil)
        var done = try ActionWorld.object(Self.job)
        try done.set(["conditions": [["type": "Complete", "status": "True"]]], at: ["status"])
        var owned = try ActionWorld.object(Self.job)
        owned.ownerReferences = [
            OwnerReference(
                apiVersion: "jobset.x-k8s.io/v1alpha2", kind: "JobSet", name: "llm", uid: "u", isController: true)
        ]
        for object in [unmarked, done, owned] {
            let outcome = try await quiesce(object.serialized(), world)
            #expect(outcome.item == object.serialized() && outcome.additionalItems.isEmpty)
        }
        #expect(world.log.lines.isEmpty)
    }

    @Test("The ConfigMap can ask for workloads that do not say themselves")
    func byDefault() async throws {
        let world = ActionWorld(.quiesce, ["consistency": "stop"])
        var job = try ActionWorld.object(Self.job)
        job.setAnnotation("becalm.io/consistency", nil)
        let stored = try KubernetesObject(parsing: try await quiesce(job.serialized(), world).item)
        #expect(stored.annotations["becalm.io/captured"]?.contains(#""asked":"stop""#) == true)
    }

    @Test("Annotations that cannot be read keep the object in the backup, and make the backup fail in part")
    func misspelled() async throws {
        let world = ActionWorld()
        var job = try ActionWorld.object(Self.job)
        job.setAnnotation("becalm.io/checkpoint-signal", "KILL")
        let outcome = try await quiesce(job.serialized(), world)
        #expect(outcome.item == job.serialized())
        #expect(world.log.lines.contains { $0.hasPrefix("error") && $0.contains("becalm.io/checkpoint-signal") })
    }

    @Test("Traps of a marked workload are told")
    func traps() async throws {
        let world = ActionWorld()
        _ = try await quiesce(
            try ActionWorld.bytes(
                """
                apiVersion: apps/v1
                kind: StatefulSet
                metadata: {name: db, namespace: ml, annotations: {becalm.io/consistency: pause}}
                spec:
                  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}
                  volumeClaimTemplates: [{metadata: {name: d}}]
                """), world)
        #expect(world.log.lines.contains { $0.hasPrefix("warning") && $0.contains("whenScaled Delete") })
    }

    // MARK: volume-backup

    private func volumeBackup(
        _ world: ActionWorld, annotation: String? = nil, policy: String? = nil, phase: String = "InProgress",
        change: (inout KubernetesObject) throws -> Void = { _ in }
    ) async throws -> [String] {
        var world = world
        var claim = try ActionWorld.object(VolumePolicyTests.claim)
        claim.setAnnotation("becalm.io/volume-backup", annotation)
        try change(&claim)
        world.add(try ActionWorld.object(VolumePolicyTests.volume), "persistentvolumes")
        var spec = ""
        if let policy {
            var map = KubernetesObject(
                GroupVersionKind(version: "v1", kind: "ConfigMap"), namespace: "velero", name: "policies")
            try map.set(["p": .string("version: v1\nvolumePolicies: [\(policy)]")], at: ["data"])
            world.add(map, "configmaps")
            spec = #","spec":{"resourcePolicy":{"kind":"ConfigMap","name":"policies"}}"#
        }
        let backup =
            #"{"metadata":{"name":"b","namespace":"velero","uid":"b-1"},"status":{"phase":"\#(phase)"}\#(spec)}"#
        let outcome = try await world.backupAction(.volumeBackup).execute(
            item: claim.serialized(), backup: Array(backup.utf8))
        #expect(outcome.item == claim.serialized() && outcome.operation == nil && outcome.additionalItems.isEmpty)
        return world.log.lines
    }

    static let custom = "{conditions: {csi: {}}, action: {type: custom, parameters: {mover: becalm.io}}}"

    @Test("A volume that is given to Becalm makes the backup fail in part, for its data is not there")
    func given() async throws {
        for (annotation, policy) in [("true", nil), (nil, Self.custom), ("false", Self.custom)] as [(String?, String?)]
        {
            let lines = try await volumeBackup(ActionWorld(), annotation: annotation, policy: policy)
            #expect(lines.contains { $0.hasPrefix("error") && $0.contains("PersistentVolumeClaim ml/ckpt") })
        }
        let all = try await volumeBackup(ActionWorld(.volumeBackup, ["volumes": "all"]))
        #expect(all.contains { $0.hasPrefix("error") })
    }

    @Test("A volume that a policy skips, gives to Velero or to others is not touched, whatever else is asked")
    func notGiven() async throws {
        let world = ActionWorld(.volumeBackup, ["volumes": "all"])
        for action in [
            "{type: skip}", "{type: snapshot}", "{type: fs-backup}", "{type: custom, parameters: {mover: kubevirt}}",
            "{type: custom}",
        ] {
            let lines = try await volumeBackup(
                world, annotation: "true", policy: "{conditions: {capacity: '1Gi,'}, action: \(action)}")
            #expect(!lines.contains { $0.hasPrefix("error") || $0.hasPrefix("warning") }, "\(action): \(lines)")
        }
        #expect(!(try await volumeBackup(ActionWorld())).contains { $0.hasPrefix("error") })
        #expect(
            !(try await volumeBackup(ActionWorld(.volumeBackup, ["volumes": "all"]), annotation: "false")).contains {
                $0.hasPrefix("error")
            })
    }

    @Test("Nothing is done while a backup is finalized, for a claim without a volume, and for a pod's own claim")
    func nothingToDo() async throws {
        let world = ActionWorld()
        let finalizing = try await volumeBackup(world, annotation: "true", phase: "Finalizing")
        #expect(finalizing.isEmpty)
        let unbound = try await volumeBackup(ActionWorld(), annotation: "true") {
            $0.remove(at: ["spec", "volumeName"])
        }
        let ephemeral = try await volumeBackup(ActionWorld(), annotation: "true") {
            try $0.set("p-data", at: ["metadata", "name"])
            $0.ownerReferences = [
                OwnerReference(apiVersion: "v1", kind: "Pod", name: "p", uid: "u", isController: true)
            ]
        }
        #expect(!(unbound + ephemeral).contains { $0.hasPrefix("error") })
    }

    @Test("A policy with a condition that is not known is told as a warning")
    func foreignCondition() async throws {
        let lines = try await volumeBackup(
            ActionWorld(), policy: "{conditions: {moon: full}, action: {type: custom, parameters: {mover: becalm.io}}}")
        #expect(lines.contains { $0.hasPrefix("warning") && $0.contains("moon") })
    }

    @Test(
        "Policies, parameters and annotations that cannot be read are told as errors, and the claim stays in the backup",
        arguments: [
            (nil, "{action: {}}", "type"), ("True", nil, "true or false"),
            (nil, "{action: {type: custom, parameters: {mover: becalm.io, speed: 9}}}", "speed"),
            (nil, "{action: {type: custom, parameters: {plugin: becalm.io/volume-backup}}}", "mover: becalm.io"),
        ] as [(String?, String?, String)])
    func malformedInput(annotation: String?, policy: String?, word: String) async throws {
        let lines = try await volumeBackup(ActionWorld(), annotation: annotation, policy: policy)
        #expect(lines.contains { $0.hasPrefix("error") && $0.contains(word) }, "\(lines)")
    }

    @Test("Volume policies that are not there are told as an error, and the claim stays in the backup")
    func missingPolicies() async throws {
        let backup =
            #"{"metadata":{"name":"b","namespace":"velero"},"spec":{"resourcePolicy":{"kind":"configmap","name":"gone"}}}"#
        let world = ActionWorld()
        let item = try ActionWorld.bytes(VolumePolicyTests.claim)
        let outcome = try await world.backupAction(.volumeBackup).execute(item: item, backup: Array(backup.utf8))
        #expect(outcome.item == item)
        #expect(world.log.lines.contains { $0.hasPrefix("error") && $0.contains("velero/gone") })
    }

    // MARK: volume-delete

    @Test("Nothing of ours is deleted, however often it is asked; what a newer version stored keeps its backup")
    func delete() async throws {
        let action = try ActionWorld().delete
        let backup = Array(ActionWorld.backup.utf8)
        for _ in 0..<2 {
            try await action.execute(item: try ActionWorld.bytes(VolumePolicyTests.claim), backup: backup)
        }
        var claim = try ActionWorld.object(VolumePolicyTests.claim)
        claim.setAnnotation("becalm.io/volume-snapshot", "x")
        await #expect(throws: VeleroError.self) { try await action.execute(item: claim.serialized(), backup: backup) }
        let upload = { (mover: String, snapshot: String) in
            try ActionWorld.bytes(
                """
                apiVersion: velero.io/v2alpha1
                kind: DataUpload
                metadata: {name: u, namespace: velero}
                spec: {datamover: \(mover)}
                status: {snapshotID: \(snapshot)}
                """)
        }
        try await action.execute(item: try upload("velero", "s"), backup: backup)
        try await action.execute(item: try upload("becalm", "''"), backup: backup)
        await #expect(throws: VeleroError.self) {
            try await action.execute(item: try upload("becalm", "s"), backup: backup)
        }
    }
}
