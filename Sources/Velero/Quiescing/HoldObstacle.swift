internal import Kubernetes
internal import Workloads

/// What in a backup needs a workload's pods while it runs, so that a workload that is stopped for it would spoil it.
struct HoldObstacle: Sendable {
    let backup: VeleroBackup
    let environment: PluginEnvironment

    /// Annotations of a pod that have Velero run a command in it, before its volumes are taken or after.
    private static let hooks = [
        "pre.hook.backup.velero.io/command", "hook.backup.velero.io/command", "post.hook.backup.velero.io/command",
    ]

    /// Why a workload must not be stopped, and what to do; nil for nothing. Throws where its pods, or the backup's volume
    /// policies, cannot be read.
    func reason(_ live: LiveWorkload) async throws -> String? {
        let pods = try await live.pods().filter { $0["status", "phase"]?.string == "Running" }
        guard !pods.isEmpty else { return nil }
        for hook in backup.object["spec", "hooks", "resources"]?.array ?? [] {
            guard ["pre", "post", "hooks"].contains(where: { hook[.key($0)]?.array?.isEmpty == false }) else {
                continue
            }
            return
                "the backup has hooks (`spec.hooks`) that Velero runs in pods: put what it needs into becalm.io/checkpoint-command"
        }
        for pod in pods {
            if let hook = Self.hooks.first(where: { pod.annotations[$0] != nil }) {
                return
                    "\(pod.label) has a hook that Velero runs in it (\(hook)): put that into becalm.io/checkpoint-command"
            }
        }
        let policies = try await BackupPolicies(of: backup, environment)
        for pod in pods {
            for volume in pod["spec", "volumes"]?.array ?? [] {
                guard let name = volume["name"]?.string,
                    try await isInFileSystemBackup(volume, name, of: pod, policies, live)
                else { continue }
                return
                    "Velero's file system backup of volume \(name) of \(pod.label) needs the pod to run: give the volume to becalm.io/volume-backup or to CSI snapshots"
            }
        }
        return nil
    }

    /// Volumes that are in no file system backup, whatever is asked for.
    private static let neverTaken = ["hostPath", "secret", "configMap", "projected", "downwardAPI"]

    /// As Velero decides it: by a policy that speaks of the claim, else by the pod's annotations and the backup's default
    /// (pkg/util/podvolume, `GetVolumesByPod`).
    private func isInFileSystemBackup(
        _ volume: JSONValue, _ name: String, of pod: KubernetesObject, _ policies: BackupPolicies?, _ live: LiveWorkload
    ) async throws -> Bool {
        if Self.neverTaken.contains(where: { volume[.key($0)]?.object != nil }) { return false }
        if let policies, let claimName = volume["persistentVolumeClaim", "claimName"]?.string,
            let claim = try await live.client.find(.persistentVolumeClaims, namespace: pod.namespace, name: claimName),
            let action = try await policies.decide(claim).action
        {
            return action == .fileSystemBackup
        }
        let spec = backup.object["spec"]
        let isDefault =
            spec?["defaultVolumesToFsBackup"]?.bool == true || spec?["defaultVolumesToRestic"]?.bool == true
        let key = isDefault ? "backup.velero.io/backup-volumes-excludes" : "backup.velero.io/backup-volumes"
        let names = (pod.annotations[key] ?? "").split(separator: ",").map { $0.filter { $0 != " " } }
        return names.contains(name) != isDefault
    }
}
