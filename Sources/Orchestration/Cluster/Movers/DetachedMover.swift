package import Basics
package import Kubernetes
package import Repository
internal import RepositoryFormat
internal import Sealing
internal import Workloads

/// A mover that no process stays with: one begins it, others ask how far it is, the last one takes it away.
///
/// Its namespace and run are all that is needed to find it. The run's Lease holds for as long as the mover may take, so
/// that nobody takes it for one that was forgotten; when the mover has ended, what it came to is written there first, and
/// everything else of the run goes. The Lease itself stays for a day more, for whoever asks again, and goes with the next
/// run in that namespace. Each call may be made again after any other process died in the middle of it.
package struct DetachedMover: Sendable {
    let client: KubernetesClient
    let namespace: String
    /// What its label says.
    package let run: String
    let lease: MoverLease

    /// How a claim is copied that is not to be read itself.
    package struct Copying: Sendable {
        let plan: DetachedCopy.Plan
    }

    package init(_ client: KubernetesClient, namespace: String, run: String) {
        self.client = client
        self.namespace = namespace
        self.run = run
        lease = MoverLease(client, namespace: namespace, run: run)
    }

    /// The run's id for what `words` say together: the same in every process. 60 bits of their SHA-256 in base 36.
    package static func run(for words: [String]) -> String {
        let text = words.map { "\($0.utf8.count):\($0)" }.joined()
        let digest = SHA256State.digest(of: Array(text.utf8))
        let number = digest.withBytes { $0.prefix(8).reduce(0 as UInt64) { $0 << 8 | UInt64($1) } }
        return String(number >> 4, radix: 36)
    }

    /// The name of the Lease of a run.
    package static func leaseName(run: String) -> String { MoverLease.name(run: run) }

    /// The run whose Lease is called so; nil for what is none.
    package static func run(ofLease name: String) -> String? { MoverLease.run(ofName: name) }

    // MARK: Beginning

    /// How `claim` is copied where it is read from a snapshot, as `source` has it; nil where it is read itself. Throws
    /// `no_volume_snapshot` for one that must be copied and cannot be; `report` is told where one may not be.
    package func copying(
        _ claim: KubernetesObject, source: VolumeSource, limits: SnapshotLimits,
        report: @escaping @Sendable (String) -> Void
    ) async throws -> Copying? {
        let snapshots = ClaimSnapshots(client: client, run: run, limits: limits, report: report)
        guard let name = try await snapshots.snapshotClass(for: claim, source: source) else { return nil }
        // Before anything is begun: `auto` does without where a copy may not be made.
        let resource = try await client.resource(group: ClaimSnapshots.group, kind: "VolumeSnapshot")
        for resource in [resource ?? .persistentVolumeClaims, .persistentVolumeClaims] {
            let review = try await client.reviewAccess("create", resource, namespace: namespace)
            guard review.isAllowed else {
                throw KubernetesError(
                    .forbidden,
                    "creating \(resource) in namespace \(namespace), which reading a claim from a snapshot takes, is not allowed: see plugin/examples/rbac.yaml"
                )
            }
        }
        return Copying(plan: DetachedCopy.Plan(claim: claim, snapshotClass: name, limits: limits))
    }

    /// Begins it, goes on with beginning it, or does nothing where that has been done. `request.access` is not nil.
    /// `isBlock` says that the claim is a device, `seconds` how long it may take in all. Throws what the cluster or the
    /// repository refuses; then nothing of the run
    /// is left but what `report` tells of, unless `staysBegun`: who is sure to begin it again, or to take it away, goes on
    /// from what is there.
    ///
    /// With `copying` the mover reads a copy of the claim, which is cut before anything else is made and is there some time
    /// later: those who ask how it stands see to that. An action without a shard has several store the volume side by side,
    /// whose snapshots are to be joined (`join`) when all of them have ended.
    package func start(
        _ action: MoverAction, claim: String, isBlock: Bool = false, subject: MoverSubject? = nil,
        copying: Copying? = nil,
        placement: MoverPlacement, seconds: Int, staysBegun: Bool = false, _ request: MoverRun.Request,
        report: @escaping @Sendable (String) -> Void
    ) async throws {
        guard !request.settings.image.isEmpty else {
            throw JourneyError.usage("no image for movers is named: give one that has becalm in it")
        }
        guard let access = request.access else {
            throw JourneyError.usage("a mover that nobody stays with needs a repository")
        }
        let cleaner = MoverCleaner(client, namespace: namespace, open: request.open)
        for message in await cleaner.sweep() { report(message) }
        let repository = MoverSlots.identifier(try await request.open())
        if let lease = try await lease.read().lease, Self.ended(lease) != nil { return }
        var settings = request.settings
        settings.deadlineSeconds = min(settings.deadlineSeconds, seconds)
        // Who asks after a while still finds what it said.
        settings.lifeSeconds = max(settings.lifeSeconds, seconds)
        let copy = copying.map { DetachedCopy(client, run: run, $0.plan) }
        var placement = placement
        // A copy is wherever it can be made.
        if copy != nil { placement.node = nil }
        var whole = MoverJob(
            run: run, namespace: namespace, claim: copy?.name ?? claim, origin: claim, action: action,
            placement: placement, settings: settings, subject: subject)
        whole.isBlock = isBlock
        do {
            try await lease.take(
                repository: repository, seconds: seconds + Self.spareSeconds,
                startSeconds: settings.startSeconds + (copying?.plan.seconds ?? 0), copy: copy?.leaseText,
                shares: whole.indexes)
            if let copy, let plan = copying?.plan { try await copy.begin(plan) }
            let support = whole.isIndexed ? try await IndexedJobs(client).support(for: whole) : IndexedJobs.Support()
            let movers = whole.shares(support)
            let job = try await job(movers[0])
            for other in movers.dropFirst() { _ = try await self.job(other) }
            try await secret(movers[0], job, access, request)
            try await lease.hasBegun(seconds: seconds + Self.spareSeconds)
        } catch {
            guard !staysBegun else { throw error }
            // A caller that is cancelled must not keep this from being done.
            let (run, hasShares) = (run, whole.indexes > 1)
            let cleaning = OwnedTask<[String], Never> {
                await cleaner.clean(
                    run, isOurs: true, repository: repository, forgets: false, forgetsShares: hasShares)
            }
            for message in await cleaning.outcome().get() { report(message) }
            throw error
        }
    }

    /// Seconds that the Lease holds after the mover's own end, for whoever asks to see it.
    private static let spareSeconds = 3600
    /// Seconds that the Lease of a mover that has ended is kept.
    private static let keepSeconds = 86_400
    /// Seconds that the Lease of one is kept which has ended and of which something is left: more than pods have to end.
    private static let leftSeconds = 300

    private func job(_ mover: MoverJob) async throws(KubernetesError) -> KubernetesObject {
        do throws(KubernetesError) {
            return try await client.create(.jobs, mover.job())
        } catch {
            // Made by a process that died, or the answer was lost: nobody else makes objects of this name.
            guard error.isAmbiguous || error.code == .alreadyExists else { throw error }
            return try await client.get(.jobs, namespace: namespace, name: mover.name)
        }
    }

    /// The Secret, which is made after the slot that it opens: where it is there, all is done.
    private func secret(
        _ mover: MoverJob, _ job: KubernetesObject, _ access: MoverAccess, _ request: MoverRun.Request
    ) async throws {
        guard try await client.find(.secrets, namespace: namespace, name: mover.secretName) == nil else { return }
        let slots = MoverSlots(open: request.open)
        try await slots.remove(run: run)
        let key = Array(Hex.encode(try SecureRandom.bytes(48)).utf8)
        let entries = try access.entries(key: key)
        _ = try await slots.add(key: key, role: request.role, run: run)
        do throws(KubernetesError) {
            _ = try await client.create(.secrets, mover.secret(for: job, files: entries))
        } catch {
            guard error.isAmbiguous else { throw error }
            _ = try await client.get(.secrets, namespace: namespace, name: mover.secretName)
        }
    }

    // MARK: Asking

    /// How it stands.
    package enum Standing: Sendable, Equatable {
        /// It works, on this node, since then.
        case running(MoverProgress, node: String, since: Timestamp?)
        /// It has not begun, or has to begin anew: what keeps it from that, empty for nothing, and since when.
        case waiting(String, since: Timestamp?)
        /// Several have stored the volume, each its share, by their numbers: `join` makes one snapshot of them, and ends it.
        case stored([MoverResult])
        case ended(Ending)
        /// There is no such run, or it ended long ago, or nobody has come to the end of beginning it.
        case unknown
    }

    /// What a mover came to.
    package struct Ending: Sendable, Equatable {
        package var result: MoverResult
        /// The id of the repository.
        package var repository: String
        /// Whether something of the run may be left.
        package var needsCleaning: Bool
        package var since: Timestamp?
        /// The node that it ran on, where that is known.
        package var node: String?
    }

    /// How it stands; an end is written down where it is seen first. Throws what the cluster refuses, and what may pass.
    package func standing() async throws(KubernetesError) -> Standing {
        let (lease, now) = try await lease.read()
        guard let lease else { return .unknown }
        if let ending = Self.ended(lease) { return .ended(ending) }
        if MoverLease.isBeginning(lease) { return .unknown }
        if let copy = DetachedCopy(client, run: run, lease: lease) {
            switch try await copy.advance(now: now) {
            case .made: break
            case .waits(let reason): return .waiting(reason, since: lease.creationTimestamp)
            case .failed(let reason): return try await end(Self.failure(reason), lease)
            }
        }
        let options = ListOptions(labels: MoverJob.selector(run: run))
        // Before its pods: a Job that is complete is so by what those say.
        let jobs = try await client.list(.jobs, namespace: namespace, options).items
        let job = jobs.first
        let pods = try await client.list(.pods, namespace: namespace, options).items
        let since = job?.creationTimestamp ?? lease.creationTimestamp
        if MoverLease.shares(lease) > 1 {
            return try await standing(of: DetachedShares(lease, jobs: jobs, pods: pods), lease, since, now)
        }
        switch MoverStanding(job: job, pods: pods, claim: "") {
        case .ended(let result): return try await end(result, lease, node: Self.node(of: pods))
        case .failed(let reason): return try await end(Self.failure(reason), lease)
        case .running(let pod):
            let node = pods.first { $0.name == pod }?["spec", "nodeName"]?.string ?? ""
            try await note(lease) { _ in }
            return .running(await said(pod), node: node, since: since)
        case .waiting(var reason):
            if reason.isEmpty { reason = await events.obstacle(job: job?.uid ?? "", pods: pods) }
            if MoverStanding.hopeless.contains(where: { reason.hasPrefix($0) }) {
                return try await end(Self.failure(reason), lease)
            }
            if let late = Self.late(lease, pods, since, now, reason) { return try await end(late, lease) }
            return .waiting(reason, since: since)
        }
    }

    /// What it comes to where nothing of it has begun in its time, which the newest pod has in full: a node's drain takes
    /// pods away that have waited, too. Nil where it has time, or something has run: the next pod may wait as long as it
    /// likes.
    static func late(
        _ lease: KubernetesObject, _ pods: [KubernetesObject], _ since: Timestamp?, _ now: Timestamp, _ reason: String
    ) -> MoverResult? {
        let hasRun = pods.contains { $0["status", "containerStatuses", 0, "state", "terminated"] != nil }
        guard let limit = MoverLease.startSeconds(lease), !hasRun, !MoverLease.hasRun(lease),
            let start = pods.compactMap(\.creationTimestamp).max() ?? since, now - start > Double(limit)
        else { return nil }
        let words = reason.isEmpty ? "" : ": \(reason)"
        return failure("it has not begun within \(limit) s\(words)")
    }

    /// Writes down that something of it has run, whose pod may be gone when the next one is asked about, and what else
    /// `change` does. Nothing is written that the Lease says already; who finds it changed meanwhile leaves it to the next
    /// call.
    func note(
        _ lease: KubernetesObject, _ change: (inout KubernetesObject) -> Void
    ) async throws(KubernetesError) {
        var changed = lease
        MoverLease.markRun(&changed)
        change(&changed)
        guard changed != lease else { return }
        do throws(KubernetesError) {
            _ = try await client.update(.leases, changed)
        } catch {
            guard error.code == .conflict else { throw error }
        }
    }

    /// Whether what it stores cannot change with its volume any more: it has ended, or reads a snapshot that is cut.
    package func hasTaken() async throws(KubernetesError) -> Bool {
        let lease = try await lease.read().lease
        let copy = lease.flatMap { DetachedCopy(client, run: run, lease: $0) }
        // Before how it stands: what keeps a volume from being made of the snapshot is nothing to wait for.
        if let lease, let copy, Self.ended(lease) == nil, !MoverLease.isBeginning(lease) {
            do throws(KubernetesError) {
                if try await copy.isCut() { return true }
            } catch {
                // How it stands says that it fails.
                guard [.forbidden, .unsupported].contains(error.code) else { throw error }
            }
        }
        switch try await standing() {
        case .ended, .unknown, .stored: return true
        // It reads the copy, which was there before it.
        case .running: return copy != nil
        case .waiting: return false
        }
    }

    static func failure(_ reason: String) -> MoverResult {
        MoverResult(JourneyError(.failed, kind: "mover_failed", "the mover failed: \(reason)"))
    }

    /// The node of the pod that has said how it went.
    private static func node(of pods: [KubernetesObject]) -> String {
        let ended = pods.first { pod in
            let message = pod["status", "containerStatuses", 0, "state", "terminated", "message"]?.string ?? ""
            return MoverResult(parsing: message, claim: "")?.isFinal == true
        }
        return ended?["spec", "nodeName"]?.string ?? ""
    }

    /// What the pod has said last. Progress is for people: without it the mover does its work all the same.
    func said(_ pod: String) async -> MoverProgress {
        var options = LogOptions()
        options.tailLines = 10
        options.limitBytes = 64 << 10
        guard let text = try? await client.logText(namespace: namespace, pod: pod, options) else {
            return MoverProgress()
        }
        for line in text.split(whereSeparator: \.isNewline).reversed() {
            if let json = try? JSONValue(parsing: Array(line.utf8)), let said = MoverProgress(json) { return said }
        }
        return MoverProgress()
    }

    var events: MoverEvents { MoverEvents(client: client, namespace: namespace) }

    // MARK: Ending

    /// What a Lease says that the mover came to; nil while nobody has seen an end.
    private static func ended(_ lease: KubernetesObject) -> Ending? {
        guard let text = lease.annotations[MoverJob.resultAnnotation],
            let result = MoverResult(parsing: text, claim: "")
        else { return nil }
        let open = lease.annotations[MoverLease.repositoryAnnotation] ?? ""
        return Ending(
            result: result, repository: lease.annotations[MoverLease.storedInAnnotation] ?? open,
            needsCleaning: !open.isEmpty, since: lease.creationTimestamp,
            node: lease.annotations[MoverLease.nodeAnnotation])
    }

    /// Writes down what it came to; what somebody else wrote first stays.
    func end(
        _ result: MoverResult, _ lease: KubernetesObject, node: String = ""
    ) async throws(KubernetesError) -> Standing {
        let text = String(decoding: result.text, as: UTF8.self)
        var changed = lease
        if !node.isEmpty { changed.setAnnotation(MoverLease.nodeAnnotation, node) }
        changed.setAnnotation(MoverJob.resultAnnotation, text)
        changed.setAnnotation(
            MoverLease.storedInAnnotation, lease.annotations[MoverLease.repositoryAnnotation] ?? "")
        do throws(KubernetesError) {
            let stored = try await client.update(.leases, changed)
            return Self.ended(stored).map { .ended($0) } ?? .unknown
        } catch {
            guard error.code == .conflict || error.code == .notFound else { throw error }
            guard let lease = try await self.lease.read().lease else { return .unknown }
            guard let ending = Self.ended(lease) else { throw error }
            return .ended(ending)
        }
    }

    /// Stops it where it has not ended. Nothing happens to one that nobody knows.
    package func cancel() async throws(KubernetesError) {
        try await stop(MoverResult(JourneyError(.interrupted, kind: "cancelled", "the mover was cancelled")))
    }

    /// Stops it where it has not ended, for a reason that nobody can do anything about: what it came to is that. Nothing
    /// happens to one that nobody knows.
    package func fail(_ reason: String) async throws(KubernetesError) { try await stop(Self.failure(reason)) }

    private func stop(_ result: MoverResult) async throws(KubernetesError) {
        var attempt = 0
        while true {
            attempt += 1
            guard let lease = try await lease.read().lease, Self.ended(lease) == nil else { return }
            do throws(KubernetesError) {
                _ = try await end(result, lease)
                return
            } catch {
                guard error.code == .conflict, attempt < 10 else { throw error }
            }
        }
    }

    /// Takes away what is left of a mover that has ended, the Lease last, which is kept for a day unless `forgetsLease`.
    /// With `forgetsSnapshots` what it has stored is forgotten, too, once no pod of it is left. Answers what could not be
    /// done; that is done when this is called again, or by a later run. `open` opens the repository.
    package func clean(
        forgetsSnapshots: Bool = false, forgetsLease: Bool = false,
        open: @escaping @Sendable () async throws -> Repository
    ) async -> [String] {
        let lease: KubernetesObject?
        do throws(KubernetesError) {
            lease = try await self.lease.read().lease
        } catch {
            return ["what is left of movers (\(run)) stays for now: \(error)"]
        }
        guard let lease, let ending = Self.ended(lease) else { return [] }
        if ending.needsCleaning {
            let cleaner = MoverCleaner(client, namespace: namespace, open: open)
            // A mover that is stopped may publish its snapshot while it ends.
            let left = await cleaner.removeAll(
                run, repository: ending.repository, waitsForPods: forgetsSnapshots, forgets: forgetsSnapshots,
                forgetsShares: MoverLease.shares(lease) > 1)
            guard left.isEmpty else {
                return left + (MoverLease.shares(lease) > 1 ? await leave() : [])
            }
        } else if !forgetsLease {
            return []
        }
        do {
            if forgetsLease {
                try await self.lease.end(run)
            } else {
                try await self.lease.keep(seconds: Self.keepSeconds)
            }
        } catch {
            return ["the Lease of movers (\(run)) says that something is left: \(error)"]
        }
        return []
    }

    /// Has the next run in this namespace do what is left, should nobody ask about this one any more.
    private func leave() async -> [String] {
        do {
            try await lease.hold(seconds: Self.leftSeconds)
            return []
        } catch {
            return ["the Lease of movers (\(run)) holds until its time is over: \(error)"]
        }
    }

    /// Whether pods of a mover that has ended are about to end, and may publish what `clean` is to forget.
    package func isStopping() async throws(KubernetesError) -> Bool {
        let (lease, now) = try await lease.read()
        guard let lease, MoverLease.shares(lease) > 1 else { return false }
        return try await MoverCleaner(client, namespace: namespace, open: nil).isStopping(run, now: now)
    }
}
