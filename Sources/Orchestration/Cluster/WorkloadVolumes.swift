internal import Kubernetes
internal import Workloads

/// The volumes of a workload, and how its movers get at them.
struct WorkloadVolumes: Sendable {
    /// One that is taken.
    struct Volume: Sendable {
        var claim: KubernetesObject
        /// Where CSI snapshots of it are made; nil where it is read live.
        var snapshotClass: String?
    }

    /// The volumes to take, in the order of their claims' names.
    private(set) var volumes: [Volume] = []
    /// What users should know: claims that are left out, and why.
    private(set) var remarks: [String] = []

    /// Decides about each of a workload's claims. Throws for one that cannot be read in the way that is wanted.
    static func decide(
        _ live: LiveWorkload, source: VolumeSource, consistency: QuiescePolicy.Consistency?, snapshots: ClaimSnapshots
    ) async throws -> WorkloadVolumes {
        var decided = WorkloadVolumes()
        let users = Self.users(try await live.pods())
        for name in try await live.claims() {
            guard
                let claim = try await live.client.find(
                    .persistentVolumeClaims, namespace: live.namespace, name: name)
            else { continue }
            if let reason = try reasonToLeaveOut(claim) {
                decided.remarks.append("the data of \(claim.label) is left out: \(reason)")
                continue
            }
            var volume = Volume(claim: claim)
            if source != .live {
                let (found, reason) = try await snapshots.snapshotClass(for: claim)
                guard found != nil || source == .auto else {
                    throw JourneyError(
                        .failed, kind: "no_snapshots",
                        "\(claim.label) cannot be read from a CSI snapshot: \(reason); read it live with --source live")
                }
                volume.snapshotClass = found
            }
            let modes = (claim["spec", "accessModes"]?.array ?? []).compactMap(\.string)
            if volume.snapshotClass == nil, consistency == .checkpoint, modes.contains("ReadWriteOncePod"),
                users[name] != nil
            {
                throw JourneyError(
                    .failed, kind: "volume_in_use",
                    "\(claim.label) is for one pod (ReadWriteOncePod), which runs: stop it for the backup with --consistency pause"
                )
            }
            decided.volumes.append(volume)
        }
        return decided
    }

    /// Why a claim has no data to take; nil when it has. Throws for one whose data cannot be taken.
    static func reasonToLeaveOut(_ claim: KubernetesObject) throws(JourneyError) -> String? {
        if claim.annotations[BecalmAnnotation.volumeBackup] == "false" {
            return "its annotation \(BecalmAnnotation.volumeBackup) says so"
        }
        if claim["spec", "volumeMode"] == "Block" {
            throw JourneyError(
                .failed, kind: "block_volume",
                "\(claim.label) is a raw block device, which is not backed up; leave it out with the annotation \(BecalmAnnotation.volumeBackup): \"false\""
            )
        }
        guard claim["status", "phase"] == "Bound" else {
            return "it is not bound to a volume (\(claim["status", "phase"]?.string ?? "no status"))"
        }
        return nil
    }

    /// The pods that have a claim mounted, of those that run: one each.
    static func users(_ pods: [KubernetesObject]) -> [String: KubernetesObject] {
        var users: [String: KubernetesObject] = [:]
        for pod in pods where pod["spec", "nodeName"]?.string != nil {
            let phase = pod["status", "phase"]?.string
            guard phase != "Succeeded", phase != "Failed" else { continue }
            for template in Pod().podTemplates(pod) { for claim in template.claimNames { users[claim] = pod } }
        }
        return users
    }

    /// Where a mover of `claim` runs: beside the pod that has it, else where such pods would.
    static func placement(of claim: String, _ live: LiveWorkload, pods: [KubernetesObject]) -> MoverPlacement {
        if let pod = users(pods)[claim] { return MoverPlacement(beside: pod) }
        return placement(of: claim, live.workload, pods)
    }

    /// Where pods with `claim` would run.
    static func placement(of claim: String, _ workload: Workload, _ pods: [KubernetesObject] = []) -> MoverPlacement {
        let templates = workload.podTemplates
        let template = templates.first { $0.claimNames.contains(claim) } ?? templates.first
        return template.map { MoverPlacement(like: $0.json) } ?? MoverPlacement()
    }
}
