internal import Basics
package import Kubernetes
internal import Workloads

/// A mover as the cluster sees it: a Job of one pod that mounts one claim, or has it as a device, and the Secret that it opens the repository
/// with. Pure: nothing here asks a cluster.
///
/// Where a volume is shared among several pods of one Job, that is an Indexed one (`IndexedJobs`): each pod has a number, which
/// its successors have, too, and takes the share of that number.
///
/// The pod gets no token for the API and no more of root than its work takes: it is given the volume's files, whoever owns
/// them, and nothing of the node. A mover that is killed midway is run again by its Job, and what it has stored is not
/// stored again.
package struct MoverJob: Sendable {
    /// The run that it belongs to.
    package var run: String
    package var namespace: String
    /// The claim that is mounted.
    package var claim: String
    /// The claim that its data belongs to: another one when a copy is mounted.
    package var origin: String
    package var action: MoverAction
    package var placement: MoverPlacement
    package var settings: MoverSettings
    /// What a backup calls the volume in its snapshot, and how it marks that; nil for the namespace and the origin.
    package var subject: MoverSubject?
    /// Whether the claim is a block device (`volumeMode: Block`), which is not mounted.
    package var isBlock = false
    /// Whether its container has the claim's volume; without it the pod is only scheduled where that is reached.
    var mountsClaim = true
    /// Whether the server counts the failures of each index of an Indexed Job by itself.
    var limitsEachIndex = false

    package init(
        run: String, namespace: String, claim: String, origin: String? = nil, action: MoverAction,
        placement: MoverPlacement, settings: MoverSettings, subject: MoverSubject? = nil
    ) {
        self.run = run
        self.namespace = namespace
        self.claim = claim
        self.origin = origin ?? claim
        self.action = action
        self.placement = placement
        self.settings = settings
        self.subject = subject
    }

    // MARK: Names

    /// Where the volume is in the pod. A backup stores it under the last component.
    package static let volumePath = "/volume"
    /// Where a volume that is a device is in the pod: by the same last component.
    package static let devicePath = "/dev/volume"
    /// The name that the volume has at the root of a mover's snapshot: a directory or, of a device, a file of its size.
    package static let volumeName = "volume"
    /// Where the Secret is in the pod.
    package static let accessPath = "/run/becalm/access"
    private static let cachePath = "/var/cache/becalm"
    /// A label: the claim, as far as a label holds its name.
    package static let claimLabel = "becalm.io/claim"
    /// On the Job: what its mover has said last, and at the end.
    package static let progressAnnotation = "becalm.io/progress"
    package static let resultAnnotation = "becalm.io/result"

    /// The result of one index of an Indexed Job.
    static func resultAnnotation(index: Int) -> String { "\(resultAnnotation)-\(index)" }
    /// Of a pod of an Indexed Job: its index, from 0. A label of this name is there as well since Kubernetes 1.28.
    static let indexAnnotation = "batch.kubernetes.io/job-completion-index"
    /// The variable of its containers that says the same.
    package static let indexVariable = "JOB_COMPLETION_INDEX"

    /// Pods that must come to their end: shares of an Indexed Job, else one.
    var indexes: Int {
        if case .backup(nil, let count) = action { count } else { 1 }
    }

    /// Whether it is an Indexed Job.
    var isIndexed: Bool {
        if case .backup(nil, _) = action { true } else { false }
    }

    /// `becalm-RUN-backup-CLAIM`, or `-share0-` and `-shares-` of what several store together, cut to what a label holds, with a
    /// hash where something was cut off. No two movers of a run have one name: the pod of the first may be there still when the
    /// second begins.
    package var name: String {
        let word =
            switch action {
            case .backup(let shard?, let count) where count > 1: "share\(shard)"
            case .backup(nil, _): "shares"
            case .inspect(newerThan: .some, _): "newer"
            default: action.word
            }
        // A pod of an Indexed Job has `-INDEX` after it in its host name, and in its own.
        let spare = isIndexed ? "-\(indexes - 1)".utf8.count : 0
        return Self.name("becalm-\(run)-\(word)-", origin, most: 63 - spare)
    }

    /// Of the Secret for this Job alone, or of the one for the Jobs of all shares.
    package var secretName: String { sharedSecret ?? name }
    /// The Secret of a run whose Jobs share one.
    var sharedSecret: String?
    /// A label: the share of a Job of its own, from 0.
    static let shareLabel = "becalm.io/share"

    /// The Jobs in which so many movers store the claim side by side: this one where the server has Indexed Jobs, else one
    /// for each share, with one Secret.
    func shares(_ support: IndexedJobs.Support) -> [MoverJob] {
        guard isIndexed else { return [self] }
        var mover = self
        mover.limitsEachIndex = support.limitsEachIndex
        if support.isServed { return [mover] }
        let jobs = (0..<indexes).map { share in
            var mover = self
            mover.action = .backup(shard: share, of: indexes)
            return mover
        }
        return jobs.map { job in
            var job = job
            job.sharedSecret = jobs[0].name
            return job
        }
    }

    /// A name of at most so many characters; the claim's dots are dashes, as pods' host names have none.
    static func name(_ head: String, _ claim: String, most: Int = 63) -> String {
        let tail = claim.map { $0 == "." ? "-" : String($0) }.joined()
        let whole = head + tail
        if whole.utf8.count <= most, tail == claim { return whole }
        let hash = String(
            claim.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }, radix: 16)
        return "\(whole.prefix(most - 1 - hash.utf8.count))-\(hash)"
    }

    /// What says of a run's Jobs, pods and Secrets that they are its.
    package static func selector(run: String) -> LabelSelector { LabelSelector(matching: [BecalmAnnotation.run: run]) }

    /// The mark of a run's snapshots, which are parts of one to come and go with the run.
    package static func partTag(run: String) -> String { "becalm-part-\(run)" }

    private var labels: JSONObject {
        var labels = JSONObject()
        for (key, value) in settings.labels.sorted(by: { $0.key < $1.key }) { labels[key] = .string(value) }
        labels["app.kubernetes.io/name"] = "becalm-mover"
        labels[BecalmAnnotation.run] = .string(run)
        labels[BecalmAnnotation.excluded] = "true"
        labels[Self.claimLabel] = .string(Self.name("", origin))
        if case .backup(let share?, let count) = action, count > 1 { labels[Self.shareLabel] = .string("\(share)") }
        return labels
    }

    // MARK: Objects

    /// The Job. Its pod waits for the Secret, which is made after it so that it goes with it.
    package func job() -> KubernetesObject {
        var job = KubernetesObject(APIResource.jobs.groupVersionKind, namespace: namespace, name: name)
        var annotations = JSONObject()
        for (key, value) in settings.annotations.sorted(by: { $0.key < $1.key }) { annotations[key] = .string(value) }
        let template: JSONValue = [
            "metadata": ["labels": .object(labels), "annotations": .object(annotations)], "spec": podSpec,
        ]
        var spec = JSONObject()
        spec["activeDeadlineSeconds"] = .integer(settings.deadlineSeconds)
        // Of all indexes together; `MoverStanding` sees to each where the server does not.
        spec["backoffLimit"] = .integer(settings.retries * indexes)
        if isIndexed {
            spec["completionMode"] = .string(IndexedJobs.mode)
            if limitsEachIndex {
                spec["backoffLimitPerIndex"] = .integer(settings.retries)
                // One share that cannot be had is a snapshot that cannot be had.
                spec["maxFailedIndexes"] = 0
            }
        }
        spec["completions"] = .integer(indexes)
        spec["parallelism"] = .integer(indexes)
        spec["template"] = template
        spec["ttlSecondsAfterFinished"] = .integer(settings.lifeSeconds)
        for (key, value) in labels.members.map({ ($0.key, $0.value.string ?? "") }) { job.setLabel(key, value) }
        job.setMember("spec", .object(spec))
        return job
    }

    /// The Secret with `files`, owned by the Job as it was stored.
    package func secret(for job: KubernetesObject, files: [String: [UInt8]]) -> KubernetesObject {
        var secret = KubernetesObject(APIResource.secrets.groupVersionKind, namespace: namespace, name: secretName)
        for (key, value) in labels.members.map({ ($0.key, $0.value.string ?? "") }) { secret.setLabel(key, value) }
        var data = JSONObject()
        for (name, content) in files.sorted(by: { $0.key < $1.key }) { data[name] = .string(SecretData.text(content)) }
        secret.setMember("data", .object(data))
        secret.setMember("type", "Opaque")
        let owner = OwnerReference(
            apiVersion: job.apiVersion, kind: job.kind, name: job.name, uid: job.uid, isController: false,
            blocksOwnerDeletion: false)
        secret.ownerReferences = [owner]
        return secret
    }

    /// Whether a pod with this `spec` is a mover's that changes its volume.
    static func writes(_ spec: JSONValue?) -> Bool {
        spec?["containers", 0, "args"]?.array?.prefix(2).map(\.string) == [
            "mover", MoverAction.restore(snapshot: "", path: []).word,
        ]
    }

    /// What the pod runs. Nothing here is secret: arguments are for all to see.
    package var arguments: [String] {
        var words = ["mover", action.word, "--volume", isBlock ? Self.devicePath : Self.volumePath, "--json"]
        if action.needsRepository {
            words += ["--access", Self.accessPath, "--cache-dir", Self.cachePath]
            if !settings.memory.isEmpty { words += ["--memory", settings.memory] }
        }
        switch action {
        case .backup(let shard, let count):
            words += ["--host", subject?.name ?? "\(namespace)/\(origin)", "--tag", Self.partTag(run: run)]
            for tag in subject?.tags ?? [] { words += ["--tag", tag] }
            if let shard {
                if count > 1 { words += ["--shard", "\(shard + 1)/\(count)"] }
            } else {
                words += ["--shards", "\(count)"]
            }
        case .restore(let snapshot, let path):
            words += ["--snapshot", snapshot, "--from", path.joined(separator: "/")]
        case .inspect(let time, let seconds):
            if let time { words += ["--newer-than", "\(time.nanoseconds)"] }
            if seconds > 0 { words += ["--timeout", "\(seconds)s"] }
        }
        return words
    }

    private var podSpec: JSONValue {
        var spec = JSONObject()
        if let affinity { spec["affinity"] = ["nodeAffinity": affinity] }
        spec["automountServiceAccountToken"] = false
        spec["containers"] = [container]
        spec["enableServiceLinks"] = false
        if !settings.imagePullSecrets.isEmpty {
            spec["imagePullSecrets"] = .array(settings.imagePullSecrets.map { ["name": .string($0)] })
        }
        let selector = placement.nodeSelector.merging(settings.nodeSelector) { $1 }
        if !selector.isEmpty {
            var object = JSONObject()
            for (key, value) in selector.sorted(by: { $0.key < $1.key }) { object[key] = .string(value) }
            spec["nodeSelector"] = .object(object)
        }
        if !settings.priorityClass.isEmpty { spec["priorityClassName"] = .string(settings.priorityClass) }
        spec["restartPolicy"] = "Never"
        spec["securityContext"] = podSecurity
        if !settings.serviceAccount.isEmpty { spec["serviceAccountName"] = .string(settings.serviceAccount) }
        // Time to publish what has been stored, before the kubelet kills it.
        spec["terminationGracePeriodSeconds"] = 60
        var tolerations = placement.tolerations + settings.tolerations.filter { !placement.tolerations.contains($0) }
        // Where only one node reaches the volume, it is read there: before a node is emptied is when people back up.
        if placement.node != nil, !tolerations.contains(Self.unschedulable) { tolerations.append(Self.unschedulable) }
        if !tolerations.isEmpty { spec["tolerations"] = .array(tolerations) }
        spec["volumes"] = .array(volumes)
        return .object(spec)
    }

    /// Has a pod go to a node that is cordoned.
    private static let unschedulable: JSONValue = [
        "effect": "NoSchedule", "key": "node.kubernetes.io/unschedulable", "operator": "Exists",
    ]

    /// The workload's own affinity, and the node that has the volume, which goes through the scheduler all the same.
    private var affinity: JSONValue? {
        if let node = placement.node {
            return ["requiredDuringSchedulingIgnoredDuringExecution": ["nodeSelectorTerms": [Self.term(node)]]]
        }
        guard let node = placement.preferredNode else { return placement.nodeAffinity }
        let key = "preferredDuringSchedulingIgnoredDuringExecution"
        var affinity = placement.nodeAffinity?.object ?? JSONObject()
        let others = affinity[key]?.array ?? []
        affinity[key] = .array(others + [["preference": Self.term(node), "weight": 100]])
        return .object(affinity)
    }

    private static func term(_ node: String) -> JSONValue {
        ["matchFields": [["key": "metadata.name", "operator": "In", "values": [.string(node)]]]]
    }

    private var podSecurity: JSONValue {
        var context = JSONObject()
        context["runAsUser"] = .integer(settings.user)
        if let group = settings.group ?? (settings.user == 0 ? 0 : nil) { context["runAsGroup"] = .integer(group) }
        context["runAsNonRoot"] = .bool(settings.user != 0)
        context["seccompProfile"] = ["type": "RuntimeDefault"]
        // Not fsGroup: the kubelet would change the owners of every file on the volume.
        var groups: [Int64] = []
        for group in settings.supplementalGroups + placement.groups where !groups.contains(group) {
            groups.append(group)
        }
        if !groups.isEmpty { context["supplementalGroups"] = .array(groups.map { .integer($0) }) }
        if let options = settings.seLinuxOptions ?? placement.seLinuxOptions { context["seLinuxOptions"] = options }
        return .object(context)
    }

    /// What root keeps of its power: to read everything, and for a restore to give files their owners and modes.
    private var capabilities: [String] {
        guard settings.user == 0 else { return [] }
        return action.writes ? ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP"] : ["DAC_READ_SEARCH"]
    }

    private var container: JSONValue {
        let hasDevice = mountsClaim && isBlock
        let volume: JSONValue =
            mountsClaim
            ? ["mountPath": .string(Self.volumePath), "name": "volume", "readOnly": .bool(!action.writes)]
            : ["mountPath": .string(Self.volumePath), "name": "scratch", "subPath": "empty"]
        var mounts = hasDevice ? [] : [volume]
        mounts.append(["mountPath": "/tmp", "name": "scratch", "subPath": "tmp"])
        if action.needsRepository {
            mounts.append(["mountPath": .string(Self.accessPath), "name": "access", "readOnly": true])
            mounts.append(["mountPath": .string(Self.cachePath), "name": "scratch", "subPath": "cache"])
        }
        var container = JSONObject()
        container["args"] = .array(arguments.map { .string($0) })
        container["command"] = ["becalm"]
        container["image"] = .string(settings.image)
        if !settings.imagePullPolicy.isEmpty { container["imagePullPolicy"] = .string(settings.imagePullPolicy) }
        container["name"] = "mover"
        container["resources"] = settings.resources
        container["securityContext"] = [
            "allowPrivilegeEscalation": false,
            "capabilities": ["add": .array(capabilities.map { .string($0) }), "drop": ["ALL"]],
            "readOnlyRootFilesystem": true,
        ]
        // The end of the log where the mover had no chance to say what happened.
        container["terminationMessagePolicy"] = "FallbackToLogsOnError"
        // The node of the device is its owner's and its group's, mostly root's and `disk`'s: root needs nothing more to read it.
        if hasDevice { container["volumeDevices"] = [["devicePath": .string(Self.devicePath), "name": "volume"]] }
        container["volumeMounts"] = .array(mounts)
        return .object(container)
    }

    private var volumes: [JSONValue] {
        var volumes: [JSONValue] = [
            [
                "name": "volume",
                "persistentVolumeClaim": ["claimName": .string(claim), "readOnly": .bool(!action.writes)],
            ],
            ["emptyDir": ["sizeLimit": .string(settings.cacheSize)], "name": "scratch"],
        ]
        if action.needsRepository {
            volumes.append([
                "name": "access",
                // The files are root's; nobody else is in the container.
                "secret": ["defaultMode": settings.user == 0 ? 0o400 : 0o444, "secretName": .string(secretName)],
            ])
        }
        for (index, companion) in placement.companions.enumerated() where companion != claim {
            volumes.append([
                "name": .string("companion-\(index)"), "persistentVolumeClaim": ["claimName": .string(companion)],
            ])
        }
        return volumes
    }
}

extension KubernetesObject {
    /// Sets a member of the object itself.
    mutating func setMember(_ key: String, _ value: JSONValue) {
        do throws(JSONPathError) {
            try set(value, at: [.key(key)])
        } catch {
            preconditionFailure("an object takes any member: \(error)")
        }
    }
}
