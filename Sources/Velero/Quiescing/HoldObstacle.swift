internal import Kubernetes
internal import Workloads

/// What in a backup needs a workload's pods while it runs, so that a workload that is stopped for it would spoil it.
struct HoldObstacle: Sendable {
    let backup: VeleroBackup
    let environment: PluginEnvironment

    /// Why the workload of `pods` must not be stopped, and what to do; nil for nothing. A volume policy that cannot be read
    /// is an obstacle.
    func reason(_ pods: [KubernetesObject], claims: [KubernetesObject]) async throws(VeleroError) -> String? {
        for pod in pods {
            if pod.annotations["post.hook.backup.velero.io/command"] != nil {
                return
                    "\(pod.label) has a hook that Velero runs in it after its volumes: remove its post.hook.backup.velero.io annotations"
            }
            if pod.annotations["backup.velero.io/backup-volumes"]?.isEmpty == false {
                return fileSystemBackup(pod.label)
            }
        }
        let hooks = backup.object["spec", "hooks", "resources"]?.array ?? []
        if hooks.contains(where: { $0["post"]?.array?.isEmpty == false }), !pods.isEmpty {
            return "the backup has hooks that Velero runs in pods after their volumes: remove `spec.hooks` with `post`"
        }
        guard !claims.isEmpty, !pods.isEmpty else { return nil }
        let spec = backup.object["spec"]
        let isDefault =
            spec?["defaultVolumesToFsBackup"]?.bool == true || spec?["defaultVolumesToRestic"]?.bool == true
        if isDefault, pods.contains(where: { $0.annotations["backup.velero.io/backup-volumes-excludes"] == nil }) {
            return fileSystemBackup(claims[0].label)
        }
        guard let policies = try await BackupPolicies(of: backup, environment) else { return nil }
        for claim in claims where try await policies.decide(claim).action == .fileSystemBackup {
            return fileSystemBackup(claim.label)
        }
        return nil
    }

    private func fileSystemBackup(_ label: String) -> String {
        "Velero's file system backup of \(label) needs its pods to run: give its volumes to becalm.io/volume-backup or to CSI snapshots"
    }
}
