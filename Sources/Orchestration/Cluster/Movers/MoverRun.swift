internal import Basics
package import Kubernetes
package import Repository
package import RepositoryFormat
internal import Sealing
internal import Workloads

/// Movers of one backup or restore, with what they share: a key of their own for the repository, and a Lease that says
/// that somebody looks after them.
///
/// Everything of a run is found by its label. The key slot and the Secrets go on every way out; what a killed process has
/// left is over with its Lease, and goes with the next run in that namespace.
package struct MoverRun: Sendable {
    /// What a run needs.
    package struct Request: Sendable {
        package var namespace: String
        package var settings: MoverSettings
        /// Nil for movers that open no repository.
        package var access: MoverAccess?
        /// What the run's key may do.
        package var role: KeyRole
        /// Opens the repository, each time as it is then: keys change.
        package var open: @Sendable () async throws -> Repository

        package init(
            namespace: String, settings: MoverSettings, access: MoverAccess?, role: KeyRole,
            open: @escaping @Sendable () async throws -> Repository
        ) {
            self.namespace = namespace
            self.settings = settings
            self.access = access
            self.role = role
            self.open = open
        }
    }

    /// Its id: what its label says.
    package let id: String
    package let client: KubernetesClient
    let request: Request
    /// The Secret's entries; empty for movers that open no repository.
    private let entries: [String: [UInt8]]
    private let indexedJobs: IndexedJobs
    let report: @Sendable (MoverEvent) -> Void

    /// Runs `body` with a run, after what dead runs have left is gone. Whatever way `body` ends, cancellation included,
    /// the run's movers are gone when this returns, and its key does not open the repository any more; where that failed,
    /// it says so.
    package static func with<R: Sendable>(
        _ client: KubernetesClient, _ request: Request, report: @escaping @Sendable (MoverEvent) -> Void,
        _ body: @escaping @Sendable (MoverRun) async throws -> R
    ) async throws -> R {
        guard !request.settings.image.isEmpty else {
            throw JourneyError.usage(
                "no image for movers is named: give one that has becalm in it with --mover-image or BECALM_MOVER_IMAGE")
        }
        let cleaner = MoverCleaner(
            client, namespace: request.namespace, open: request.access == nil ? nil : request.open)
        for message in await cleaner.sweep() { report(.remark(message)) }
        let id = String(UInt64.random(in: 0..<1 << 40), radix: 36)
        let lease = MoverLease(client, namespace: request.namespace, run: id)
        var repository = ""
        if request.access != nil { repository = MoverSlots.identifier(try await request.open()) }
        try await lease.take(repository: repository)
        let outcome: Result<R, any Error>
        do {
            let run = MoverRun(
                id: id, client: client, request: request, entries: try await entries(request, id),
                indexedJobs: IndexedJobs(client), report: report)
            outcome = .success(try await lease.renewing { try await body(run) })
        } catch {
            outcome = .failure(error)
        }
        // A caller that is cancelled must not keep this from being done.
        let known = repository
        let isLost = if case .failure = outcome { true } else { false }
        let cleaning = OwnedTask<[String], Never> {
            await cleaner.clean(id, isOurs: true, repository: known, forgets: isLost)
        }
        let left = await cleaning.outcome().get()
        for message in left { report(.remark(message)) }
        switch outcome {
        case .success(let result): return result
        case .failure(let error): throw error
        }
    }

    /// The Secret's entries, with a new key that the repository knows.
    private static func entries(_ request: Request, _ id: String) async throws -> [String: [UInt8]] {
        guard let access = request.access else { return [:] }
        // As text: who looks at it by chance breaks no terminal.
        let key = Array(Hex.encode(try SecureRandom.bytes(48)).utf8)
        let entries = try access.entries(key: key)
        let slots = MoverSlots(open: request.open)
        _ = try await slots.add(key: key, role: request.role, run: id)
        return entries
    }

    /// Has a mover do `action` with `claim`, and answers what it said. `origin` is the claim whose data it is, when a copy
    /// of that is mounted; `isBlock` says that it is a device. Throws the mover's error with its status, and `mover_failed`
    /// for one that says nothing.
    package func move(
        _ action: MoverAction, claim: String, origin: String? = nil, isBlock: Bool = false,
        placement: MoverPlacement
    ) async throws -> MoverResult {
        try await move(job(action, claim: claim, origin: origin, isBlock: isBlock, placement))[0]
    }

    /// Has `shards` movers store `claim` side by side, each its share, and answers what they said: snapshots to be joined.
    /// They are the pods of one Indexed Job where the server has such, else of a Job each. `origin` and errors as above; what
    /// one share fails of ends all.
    package func backUp(
        shards: Int, claim: String, origin: String? = nil, isBlock: Bool = false, placement: MoverPlacement
    ) async throws -> [MoverResult] {
        guard shards > 1 else {
            return [
                try await move(
                    .backup(shard: 0, of: 1), claim: claim, origin: origin, isBlock: isBlock, placement: placement)
            ]
        }
        var mover = job(.backup(shard: nil, of: shards), claim: claim, origin: origin, isBlock: isBlock, placement)
        let support = try await indexedJobs.support(for: mover)
        if support.isServed {
            mover.limitsEachIndex = support.limitsEachIndex
            return try await move(mover)
        }
        return try await withThrowingTaskGroup(of: MoverResult.self) { group in
            for shard in 0..<shards {
                group.addTask {
                    try await move(
                        .backup(shard: shard, of: shards), claim: claim, origin: origin, isBlock: isBlock,
                        placement: placement)
                }
            }
            var results: [MoverResult] = []
            for try await result in group { results.append(result) }
            return results
        }
    }

    private func job(
        _ action: MoverAction, claim: String, origin: String?, isBlock: Bool, _ placement: MoverPlacement
    ) -> MoverJob {
        var mover = MoverJob(
            run: id, namespace: request.namespace, claim: claim, origin: origin, action: action, placement: placement,
            settings: request.settings)
        mover.isBlock = isBlock
        return mover
    }

    private func move(_ mover: MoverJob) async throws -> [MoverResult] {
        let results = try await run(mover)
        for result in results { report(.ended(claim: mover.origin, result: result)) }
        for result in results { _ = try checked(result, mover) }
        return results
    }

    /// Has the volumes of `claims` made where one node reaches all of them, by a pod that is scheduled with them all: those
    /// of classes that wait for their first consumer are made for that pod. Returns when they are bound; nothing is
    /// mounted, and so nothing is in the way of a mover of one of them.
    package func bind(_ claims: [String], placement: MoverPlacement) async throws {
        guard let first = claims.first else { return }
        var placement = placement
        placement.companions = Array(claims.dropFirst())
        var mover = MoverJob(
            run: id, namespace: request.namespace, claim: first, action: .inspect(newerThan: nil, seconds: 0),
            placement: placement, settings: request.settings)
        mover.mountsClaim = false
        for result in try await run(mover) { _ = try checked(result, mover) }
    }

    /// What a mover says at its end, or the pods of an Indexed Job at theirs, which has its Job taken away.
    private func run(_ mover: MoverJob) async throws -> [MoverResult] {
        let job: KubernetesObject
        do throws(KubernetesError) {
            job = try await client.create(.jobs, mover.job())
        } catch {
            // The answer may have been lost, and nobody else makes objects of this name.
            guard error.isAmbiguous else { throw error }
            job = try await client.get(.jobs, namespace: mover.namespace, name: mover.name)
        }
        if mover.action.needsRepository {
            do throws(KubernetesError) {
                _ = try await client.create(.secrets, mover.secret(for: job, files: entries))
            } catch {
                guard error.isAmbiguous || error.code == .alreadyExists else { throw error }
                _ = try await client.get(.secrets, namespace: mover.namespace, name: mover.secretName)
            }
        }
        let results = try await MoverWatch(client: client, mover: mover, job: job.uid, report: report).results()
        // The claim is free again when the pod is gone.
        try await client.delete(
            .jobs, namespace: mover.namespace, name: mover.name, DeleteOptions(propagation: .background))
        return results
    }

    private func checked(_ result: MoverResult, _ mover: MoverJob) throws(JourneyError) -> MoverResult {
        guard result.isMoved else {
            throw JourneyError(
                result.status, kind: result.kind.isEmpty ? "mover_failed" : result.kind,
                "the mover of claim \(mover.namespace)/\(mover.origin) (\(mover.action.word)): \(result.error)")
        }
        return result
    }
}
