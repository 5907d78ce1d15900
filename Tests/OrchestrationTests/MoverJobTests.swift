import Basics
import Kubernetes
import Testing
import Workloads

@testable import Orchestration

@Suite("A mover's Job")
struct MoverJobTests {
    static func settings(_ yaml: String = "image: registry/becalm:1") throws -> MoverSettings {
        try MoverSettings(parsing: Array(yaml.utf8), source: "the settings")
    }

    static func mover(
        _ action: MoverAction = .backup(shard: 0, of: 1), claim: String = "data", settings yaml: String = "image: i:1",
        placement: MoverPlacement = MoverPlacement()
    ) throws -> MoverJob {
        MoverJob(
            run: "r1", namespace: "train", claim: claim, action: action, placement: placement,
            settings: try settings(yaml))
    }

    private func pod(_ mover: MoverJob) -> JSONValue { mover.job()["spec", "template", "spec"] ?? .null }

    private func capabilities(_ mover: MoverJob) -> [String] {
        let security = pod(mover)["containers", 0, "securityContext"]
        return (security?["capabilities", "add"]?.array ?? []).compactMap(\.string)
    }

    @Test("A backup mounts the volume read-only, and has of root's power only what reads everything")
    func backup() throws {
        let mover = try Self.mover()
        let pod = pod(mover)
        #expect(pod["volumes", 0, "persistentVolumeClaim", "claimName"] == "data")
        #expect(pod["volumes", 0, "persistentVolumeClaim", "readOnly"] == true)
        #expect(pod["containers", 0, "volumeMounts", 0, "readOnly"] == true)
        #expect(capabilities(mover) == ["DAC_READ_SEARCH"])
        let security = pod["containers", 0, "securityContext"]
        #expect(security?["capabilities", "drop"] == ["ALL"])
        #expect(security?["allowPrivilegeEscalation"] == false && security?["readOnlyRootFilesystem"] == true)
        #expect(pod["automountServiceAccountToken"] == false && pod["restartPolicy"] == "Never")
        // The kubelet would change the owner of every file.
        #expect(pod["securityContext", "fsGroup"] == nil)
    }

    @Test("A claim that is a block device is not mounted but given as a device, read-only for a backup")
    func block() throws {
        for action in [
            MoverAction.backup(shard: 0, of: 1), .restore(snapshot: "abcd", path: ["volumes", "train", "data"]),
        ] {
            var mover = try Self.mover(action)
            mover.isBlock = true
            let pod = pod(mover)
            let container = pod["containers", 0]
            #expect(container?["volumeDevices"] == [["devicePath": "/dev/volume", "name": "volume"]])
            let mounts = (container?["volumeMounts"]?.array ?? []).compactMap { $0["name"]?.string }
            #expect(!mounts.contains("volume") && mounts.contains("access"), "\(mounts)")
            #expect(pod["volumes", 0, "persistentVolumeClaim", "readOnly"] == .bool(!action.writes))
            #expect(mover.arguments.contains("/dev/volume") && !mover.arguments.contains("/volume"))
            // Bound together with others it is neither mounted nor a device.
            mover.mountsClaim = false
            #expect(self.pod(mover)["containers", 0, "volumeDevices"] == nil)
        }
    }

    @Test("A restore writes the volume, and may set owners and modes")
    func restore() throws {
        let mover = try Self.mover(.restore(snapshot: "abcd", path: ["volumes", "train", "data"]))
        #expect(pod(mover)["volumes", 0, "persistentVolumeClaim", "readOnly"] == false)
        #expect(Set(capabilities(mover)).isSuperset(of: ["CHOWN", "DAC_OVERRIDE", "FOWNER"]))
        #expect(!capabilities(mover).contains("SYS_ADMIN"))
        #expect(mover.arguments.contains("volumes/train/data") && mover.arguments.contains("abcd"))
    }

    @Test("A user that is not root has no capability at all, and can read its Secret")
    func unprivileged() throws {
        let mover = try Self.mover(settings: "{image: i:1, user: 1000, group: 2000}")
        #expect(capabilities(mover) == [])
        let security = pod(mover)["securityContext"]
        #expect(security?["runAsNonRoot"] == true && security?["runAsUser"] == 1000 && security?["runAsGroup"] == 2000)
        let access = pod(mover)["volumes"]?.array?.first { $0["name"] == "access" }
        #expect(access?["secret", "defaultMode"] == 0o444)
    }

    @Test("One that looks only is given no Secret")
    func inspect() throws {
        let mover = try Self.mover(.inspect(newerThan: Timestamp(nanoseconds: 5), seconds: 90))
        #expect(try mover.name != Self.mover(.inspect(newerThan: nil, seconds: 0)).name)
        #expect(pod(mover)["volumes"]?.array?.contains { $0["secret"] != nil } == false)
        #expect(mover.arguments.suffix(4) == ["--newer-than", "5", "--timeout", "90s"])
    }

    @Test("Neither keys nor credentials stand in the Job; the Secret is owned by it")
    func secrecy() throws {
        let mover = try Self.mover()
        let access = MoverAccess(
            repository: "s3://b/p", environment: ["AWS_SECRET_ACCESS_KEY": "hunter2"], files: ["ca.pem": [1, 2]])
        let entries = try access.entries(key: Array("k3y-k3y-k3y-k3y-k3y-k3y-k3y-k3y-".utf8))
        var stored = mover.job()
        stored.uid = "u1"
        let job = String(decoding: stored.serialized(), as: UTF8.self)
        #expect(!job.contains("hunter2") && !job.contains("k3y") && !job.contains("s3://"))
        let secret = mover.secret(for: stored, files: entries)
        #expect(secret.ownerReferences.map(\.uid) == ["u1"] && secret.name == mover.secretName)
        #expect(secret.labels[BecalmAnnotation.run] == "r1")
        #expect(Set(secret["data"]?.object?.keys ?? []) == ["access.json", "key", "ca.pem"])
        #expect(secret["data", "ca.pem"] == "AQI=")
        var text = "\(access)"
        dump(access, to: &text)
        #expect(!text.contains("hunter2"))
    }

    @Test("What opens the repository comes back from the Secret, files by where they are mounted")
    func access() throws {
        let access = MoverAccess(
            repository: "s3://b/p", endpoint: "https://e", usesPathStyle: true,
            environment: ["AWS_CA_BUNDLE": MoverAccess.file("ca.pem"), "AWS_REGION": "x"])
        let text = try #require(try access.entries(key: [])[MoverAccess.descriptionFile])
        let read = try MoverAccess(parsing: text, directory: "/run/a")
        #expect(read.repository == "s3://b/p" && read.endpoint == "https://e" && read.usesPathStyle == true)
        #expect(read.region == nil && read.environment == ["AWS_CA_BUNDLE": "/run/a/ca.pem", "AWS_REGION": "x"])
        #expect(throws: JourneyError.self) { try MoverAccess(parsing: Array("{}".utf8), directory: "/") }
        let large = MoverAccess(repository: "s3://b/p", files: ["x": [UInt8](repeating: 0, count: 1 << 20)])
        #expect(throws: JourneyError.self) { try large.entries(key: []) }
    }

    @Test(
        "Names fit a label and differ where claims do", arguments: ["data", "a.b", String(repeating: "x", count: 253)])
    func names(claim: String) throws {
        let mover = try Self.mover(claim: claim)
        let value = try #require(mover.job().labels[MoverJob.claimLabel])
        for name in [mover.name, value] {
            #expect(
                name.utf8.count <= 63 && !name.contains(".") && name.last?.isLetter == true
                    || name.last?.isNumber == true)
        }
        #expect(try Self.mover(claim: claim + "y").name != mover.name)
        #expect(try Self.mover(claim: "a-b").name != (try Self.mover(claim: "a.b").name))
        #expect(try Self.mover(.backup(shard: 1, of: 3)).name != Self.mover(.backup(shard: 2, of: 3)).name)
    }

    @Test("A node that has the volume still is preferred, beside what the workload prefers, and not required")
    func preferred() throws {
        let own: JSONValue = ["preference": ["matchExpressions": []], "weight": 1]
        let required: JSONValue = ["nodeSelectorTerms": [["matchExpressions": []]]]
        var placement = MoverPlacement()
        placement.nodeAffinity = [
            "preferredDuringSchedulingIgnoredDuringExecution": [own],
            "requiredDuringSchedulingIgnoredDuringExecution": required,
        ]
        placement.preferredNode = "n1"
        let affinity = pod(try Self.mover(placement: placement))["affinity", "nodeAffinity"]
        let preferred = affinity?["preferredDuringSchedulingIgnoredDuringExecution"]
        #expect(preferred?.array?.count == 2 && preferred?[0] == own)
        #expect(preferred?[1, "preference", "matchFields", 0, "values"] == ["n1"])
        #expect(affinity?["requiredDuringSchedulingIgnoredDuringExecution"] == required)
    }

    @Test("A volume counts as attached where its attachment says so")
    func attachments() throws {
        func attachment(_ volume: String, _ node: String, _ attached: Bool) throws -> KubernetesObject {
            try KubernetesObject([
                "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
                "metadata": ["name": .string("a\(volume)")],
                "spec": ["nodeName": .string(node), "source": ["persistentVolumeName": .string(volume)]],
                "status": ["attached": .bool(attached)],
            ])
        }
        let found = VolumeAttachments([try attachment("pvc-1", "n1", true), try attachment("pvc-2", "n2", false)])
        let claim = try RestoredClaimTests.claim("1Gi")
        #expect(found.node(of: claim) == "n1")
        var other = claim
        try other.set("pvc-2", at: ["spec", "volumeName"])
        #expect(found.node(of: other) == nil)
    }

    @Test("It runs beside the pod that has the volume, through the scheduler, past that node's taints")
    func placement() throws {
        let user = try KubernetesObject([
            "apiVersion": "v1", "kind": "Pod", "metadata": ["name": "p", "namespace": "train"],
            "spec": [
                "nodeName": "gpu1", "tolerations": [["key": "nvidia.com/gpu", "operator": "Exists"]],
                "securityContext": ["fsGroup": 7, "supplementalGroups": [8]], "nodeSelector": ["pool": "gpu"],
            ],
        ])
        var placement = MoverPlacement(beside: user)
        placement.companions = ["logs", "data"]
        let pod = pod(try Self.mover(placement: placement))
        let term = pod[
            "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms", 0]
        #expect(term?["matchFields", 0, "values"] == ["gpu1"] && pod["nodeName"] == nil)
        // A node that is being emptied is cordoned, and only there the volume is.
        let cordoned: JSONValue = [
            "effect": "NoSchedule", "key": "node.kubernetes.io/unschedulable", "operator": "Exists",
        ]
        #expect(pod["tolerations"] == [["key": "nvidia.com/gpu", "operator": "Exists"], cordoned])
        placement.node = nil
        let anywhere = self.pod(try Self.mover(placement: placement))
        #expect(anywhere["tolerations"] == [["key": "nvidia.com/gpu", "operator": "Exists"]])
        #expect(pod["securityContext", "supplementalGroups"] == [8, 7] && pod["nodeSelector", "pool"] == "gpu")
        let claims = (pod["volumes"]?.array ?? []).compactMap { $0["persistentVolumeClaim", "claimName"]?.string }
        #expect(claims == ["data", "logs"])
    }

    @Test(
        "A setting that is none, or has no such value, is refused",
        arguments: [
            "imge: x", "user: -1", "user: root", "nodeSelector: [a]", "retries: 1001", "imagePullPolicy: Sometimes",
            "- a",
            "cacheSize: many", "image: [", "supplementalGroups: [a]",
        ])
    func settings(yaml: String) {
        #expect(throws: JourneyError.self) { try Self.settings(yaml) }
    }

    @Test("An empty file of settings is refused, and every setting is taken")
    func allSettings() throws {
        let settings = try Self.settings(
            """
            image: i:2
            imagePullSecrets: [a]
            serviceAccount: sa
            tolerations: [{operator: Exists}]
            resources: {limits: {memory: 8Gi}}
            labels: {team: ml}
            annotations: {sidecar.istio.io/inject: "false"}
            seLinuxOptions: {type: spc_t}
            retries: 0
            deadlineSeconds: 3600
            """)
        let job = MoverJob(
            run: "r", namespace: "n", claim: "c", action: .backup(shard: 0, of: 1), placement: MoverPlacement(),
            settings: settings
        ).job()
        let template = job["spec", "template"]
        #expect(job["spec", "backoffLimit"] == 0 && job["spec", "activeDeadlineSeconds"] == 3600)
        #expect(template?["metadata", "annotations", "sidecar.istio.io/inject"] == "false")
        #expect(template?["metadata", "labels", "team"] == "ml" && template?["spec", "serviceAccountName"] == "sa")
        #expect(template?["spec", "securityContext", "seLinuxOptions", "type"] == "spc_t")
        #expect(template?["spec", "imagePullSecrets"] == [["name": "a"]])
        #expect(throws: JourneyError.self) { try Self.settings("") }
    }
}
