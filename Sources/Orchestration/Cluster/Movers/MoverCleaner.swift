internal import Basics
internal import Kubernetes
internal import Repository
internal import RepositoryFormat
internal import Workloads

/// Takes away what runs of movers leave: Jobs with their pods and Secrets, copies of volumes, key slots, Leases.
struct MoverCleaner: Sendable {
    private let client: KubernetesClient
    private let namespace: String
    /// Opens the repository; nil for runs without one.
    private let open: (@Sendable () async throws -> Repository)?
    /// Whom a Lease that is over is taken over by.
    private let name = "sweeper-\(UInt64.random(in: 0..<1 << 40))"

    init(
        _ client: KubernetesClient, namespace: String, open: (@Sendable () async throws -> Repository)?
    ) {
        self.client = client
        self.namespace = namespace
        self.open = open
    }

    /// Seconds that pods have to be gone: their grace period and some.
    private static let podSeconds = 120.0

    /// Cleans after runs that nobody looks after any more, and answers what was found and what could not be done.
    func sweep() async -> [String] {
        var messages: [String] = []
        let labels = LabelSelector(matching: [BecalmAnnotation.journal: MoverLease.label])
        do {
            for lease in try await client.list(.leases, namespace: namespace, ListOptions(labels: labels)).items {
                guard let run = lease.labels[BecalmAnnotation.run], !run.isEmpty else { continue }
                let taker = MoverLease(client, namespace: namespace, run: run)
                guard try await taker.takeOver(name) else { continue }
                let repository = lease.annotations[MoverLease.repositoryAnnotation] ?? ""
                let isOver = lease.annotations[MoverJob.resultAnnotation] != nil && repository.isEmpty
                if !isOver { messages.append("a run of movers (\(run)) that was killed is cleaned up") }
                // What a mover without a process stored is nobody's part: it is a snapshot to keep.
                let isDetached = MoverLease.startSeconds(lease) != nil
                messages += await clean(
                    run, isOurs: false, repository: repository, forgets: !isDetached,
                    forgetsShares: MoverLease.shares(lease) > 1)
            }
            if let open { try await MoverSlots(open: open).removeForgotten(now: SystemWallClock().now()) }
        } catch {
            messages.append("what earlier movers may have left is not cleaned up: \(error)")
        }
        return messages
    }

    /// Takes away all of a run, and last its Lease, which stays where something else did. Answers what could not be done.
    /// `repository` is the id of the one that its key opens, empty for none; `forgets` takes the snapshots of single
    /// volumes away, too, which nobody is going to join, and `forgetsShares` at least those of shares of one.
    func clean(
        _ run: String, isOurs: Bool, repository: String, forgets: Bool, forgetsShares: Bool = false
    ) async -> [String] {
        let left = await removeAll(
            run, repository: repository, waitsForPods: true, forgets: forgets, forgetsShares: forgetsShares)
        guard left.isEmpty else { return left }
        do {
            try await MoverLease(client, namespace: namespace, run: run).end(isOurs ? run : name)
        } catch {
            return [Self.stays("the Lease", run, error)]
        }
        return []
    }

    private static func stays(_ what: String, _ run: String, _ error: any Error) -> String {
        "\(what) of movers (\(run)) stay: \(error); the next run with that repository removes them"
    }

    /// As above, but for the Lease. `waitsForPods` has it end when no pod has the volume any more; `forgetsShares` forgets
    /// what is a share of a volume only, which is joined by now or never will be. Where pods are not waited for, and some
    /// may still publish what they have, that is left.
    func removeAll(
        _ run: String, repository: String, waitsForPods: Bool, forgets: Bool, forgetsShares: Bool = false
    ) async -> [String] {
        let ours = ListOptions(labels: MoverJob.selector(run: run))
        var left: [String] = []
        func attempt(_ what: String, _ body: () async throws -> Void) async {
            do {
                try await body()
            } catch {
                left.append(Self.stays(what, run, error))
            }
        }
        // What opens the repository goes first.
        await attempt("Secrets") { try await deleteAll(.secrets, ours) }
        await attempt("the key slot") {
            guard let open = try await opener(of: repository) else { return }
            try await MoverSlots(open: open).remove(run: run)
        }
        await attempt("Jobs") {
            try await deleteAll(.jobs, ours, DeleteOptions(propagation: .background))
            // What has not begun has nothing to publish, and need not be given the time for it.
            for pod in try await client.list(.pods, namespace: namespace, ours).items
            where pod["status", "phase"] == "Pending" {
                try await client.delete(
                    .pods, namespace: namespace, name: pod.name, DeleteOptions(gracePeriodSeconds: 1, uid: pod.uid))
            }
            if waitsForPods { try await waitForPods(ours) }
        }
        // Not before its pods are gone: one that is stopped may publish what it has.
        await attempt("partial snapshots") {
            guard forgets || forgetsShares, let open = try await opener(of: repository) else { return }
            if !waitsForPods, try await !livingPods(ours).isEmpty {
                throw JourneyError(.busy, kind: "pods_end", "some pods of it have not ended yet")
            }
            try await forgetParts(run, sharesAlone: !forgets, open)
        }
        await attempt("copies of volumes") {
            try await deleteAll(.persistentVolumeClaims, ours)
        }
        // Also when the claims stay: what nobody needs any more costs money with the driver.
        await attempt("snapshots of volumes") { left += try await deleteSnapshots(ours, run) }
        return left
    }

    /// Deletes the run's VolumeSnapshots, and what their driver has of them: a class may have it keep that
    /// (`deletionPolicy: Retain`), which nobody would ever look for. Answers what stays with the driver.
    private func deleteSnapshots(_ options: ListOptions, _ run: String) async throws -> [String] {
        guard let snapshots = try await client.resource(group: ClaimSnapshots.group, kind: "VolumeSnapshot") else {
            return []
        }
        var left: [String] = []
        for snapshot in try await client.list(snapshots, namespace: namespace, options).items {
            do throws(KubernetesError) {
                try await unkeep(snapshot)
            } catch {
                // Contents are the cluster's: who may back up a namespace need not be able to change them.
                guard error.code == .forbidden else { throw error }
                left.append(
                    "VolumeSnapshotContent \(Self.contentName(snapshot)) of movers (\(run)) stays, for its class has the driver keep snapshots (deletionPolicy: Retain): delete it by hand, or let becalm change it: \(error)"
                )
            }
            try await client.delete(snapshots, namespace: namespace, name: snapshot.name)
        }
        return left
    }

    /// The content of a snapshot: its status may not name it yet, and the controller makes it of the uid
    /// (external-snapshotter, `GetDynamicSnapshotContentNameForSnapshot`).
    private static func contentName(_ snapshot: KubernetesObject) -> String {
        let name = snapshot["status", "boundVolumeSnapshotContentName"]?.string ?? ""
        return name.isEmpty ? "snapcontent-\(snapshot.uid)" : name
    }

    /// Has the driver delete what it has of a snapshot when that is deleted, where its class says otherwise.
    private func unkeep(_ snapshot: KubernetesObject) async throws(KubernetesError) {
        guard let classes = try await client.resource(group: ClaimSnapshots.group, kind: "VolumeSnapshotClass"),
            let contents = try await client.resource(group: ClaimSnapshots.group, kind: "VolumeSnapshotContent"),
            let className = snapshot["spec", "volumeSnapshotClassName"]?.string,
            let found = try await client.find(classes, name: className),
            found["deletionPolicy"]?.string == "Retain", case let name = Self.contentName(snapshot),
            let content = try await client.find(contents, name: name),
            content["spec", "volumeSnapshotRef", "uid"]?.string == snapshot.uid
        else { return }
        _ = try await client.patch(contents, name: name, .merge(["spec": ["deletionPolicy": "Delete"]]))
    }

    /// What opens the repository with this id, which must be the one that is configured; nil for none.
    private func opener(of repository: String) async throws -> (@Sendable () async throws -> Repository)? {
        if repository.isEmpty { return nil }
        guard let open, try await MoverSlots.identifier(open()) == repository else {
            throw JourneyError(
                .failed, kind: "other_repository", "they are those of another repository, \(repository.prefix(8))")
        }
        return open
    }

    /// Forgets the snapshots of single volumes that a killed run has left. What they hold is found again by the next
    /// backup, as long as nobody collects it.
    private func forgetParts(
        _ run: String, sharesAlone: Bool, _ open: @Sendable () async throws -> Repository
    ) async throws {
        let repository = try await open()
        let tag = MoverJob.partTag(run: run)
        let parts = try await repository.listSnapshots().snapshots.filter { listed in
            guard let manifest = listed.manifest, manifest.tags.contains(tag) else { return false }
            return !sharesAlone || manifest.shard != nil
        }
        if !parts.isEmpty { _ = try await repository.forget(parts.map(\.id)) }
    }

    private func deleteAll(
        _ resource: APIResource, _ options: ListOptions, _ deletion: DeleteOptions = DeleteOptions()
    ) async throws {
        for object in try await client.list(resource, namespace: namespace, options).items {
            try await client.delete(resource, namespace: namespace, name: object.name, deletion)
        }
    }

    /// Pods that may still publish what they have: those that have begun and not ended.
    private func livingPods(_ options: ListOptions) async throws(KubernetesError) -> [KubernetesObject] {
        try await client.list(.pods, namespace: namespace, options).items.filter {
            !["Pending", "Succeeded", "Failed"].contains($0["status", "phase"]?.string ?? "")
        }
    }

    /// Whether pods of a run are about to end that may still publish what they have. One that has been given up, like that
    /// of a node that is lost, is none: nobody knows when it ends.
    func isStopping(_ run: String, now: Timestamp) async throws(KubernetesError) -> Bool {
        try await livingPods(ListOptions(labels: MoverJob.selector(run: run))).contains { pod in
            pod.deletionTimestamp.map { now - $0 < Self.podSeconds } ?? true
        }
    }

    /// Waits until no pod of the run is left that has the volume mounted.
    private func waitForPods(_ options: ListOptions) async throws {
        let (client, namespace) = (client, namespace)
        let late = KubernetesError(.timedOut, "pods of movers have not ended within \(Int(Self.podSeconds)) s")
        try await Deadline.run(seconds: Self.podSeconds, or: late) {
            var living: Set<String> = []
            for try await event in client.watch(.pods, namespace: namespace, options) {
                switch event {
                case .synced(let pods): living = Set(pods.map(\.name))
                case .added(let pod), .modified(let pod): living.insert(pod.name)
                case .deleted(let pod): living.remove(pod.name)
                }
                if living.isEmpty { return }
            }
            throw CancellationError()
        }
    }
}
