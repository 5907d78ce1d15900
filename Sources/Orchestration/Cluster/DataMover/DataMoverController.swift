internal import Basics
package import Kubernetes
package import Repository

/// Serves the DataUploads and DataDownloads of Velero whose `spec.datamover` is `becalm`.
///
/// Several replicas may run; one of them acts (`LeaderElection`). Nothing is kept in memory that is not in the cluster: one
/// that is killed at any moment is followed by another that goes on. What is seen of transfers decides when a step is taken
/// (`TransferBoard`); what a step does is decided by what it reads itself (`TransferWorker`).
package struct DataMoverController: Sendable {
    private let client: KubernetesClient
    private let settings: DataMoverSettings
    private let worker: TransferWorker
    private let report: @Sendable (DataMoverEvent) -> Void
    private let timing: LeaderElection.Timing

    /// `open` opens the repository with a key of the role `full`, each time as it is then; `access` says how movers get at
    /// it. Both are called from any task.
    package init(
        _ client: KubernetesClient, settings: DataMoverSettings, timing: LeaderElection.Timing = .init(),
        open: @escaping @Sendable () async throws -> Repository,
        access: @escaping @Sendable () async throws -> MoverAccess,
        report: @escaping @Sendable (DataMoverEvent) -> Void
    ) {
        self.client = client
        self.settings = settings
        self.timing = timing
        let quiet = QuietReport(report)
        let report: @Sendable (DataMoverEvent) -> Void = { quiet.tell($0) }
        self.report = report
        worker = TransferWorker(client: client, settings: settings, open: open, access: access, report: report)
    }

    /// Serves until the task is cancelled: what is under way then is left as it is, for the next one to go on with, and the
    /// Lease is let go. Throws `CancellationError`.
    package func run() async throws {
        let report = report
        // Never another process's, so that nobody takes another one's Lease for its own.
        let identity = "\(settings.identity)_\(String(UInt64.random(in: 0..<1 << 60), radix: 36))"
        let election = LeaderElection(
            client, namespace: settings.namespace, name: DataMover.lockName, identity: identity, timing: timing
        ) { event in
            switch event {
            case .standingBy(let leader): report(.leadership("\(leader) leads, and this one stands by"))
            case .leading: report(.leadership("this one leads"))
            case .lost(let reason): report(.leadership("this one does not lead any more: \(reason)"))
            case .failing(let reason): report(.trouble("who leads cannot be told: \(reason)"))
            }
        }
        try await election.run { try await serve() }
    }

    // MARK: Serving

    private enum Change: Sendable {
        case event(Transfer.Kind, WatchEvent)
        case ended(TransferBoard.Key, TransferWorker.Outcome)
        case tick
    }

    /// Seconds between looks at what is due.
    private static let tickSeconds = 0.5
    /// Seconds between looks for what transfers that are gone have left.
    private static let sweepSeconds = 600.0
    /// Seconds until transfers are watched again after that has failed.
    private static let watchSeconds = 10.0

    /// Serves, as the only one, until the task is cancelled.
    private func serve() async throws {
        let (changes, feed) = AsyncStream<Change>.makeStream()
        let (clock, worker) = (ContinuousClock(), worker)
        await withDiscardingTaskGroup { group in
            for kind in Transfer.Kind.allCases {
                group.addTask { await watch(kind, feed) }
            }
            group.addTask {
                while (try? await Task.sleep(for: .seconds(Self.tickSeconds))) != nil { feed.yield(.tick) }
            }
            group.addTask { await sweep() }
            var board = TransferBoard(concurrency: settings.concurrency)
            for await change in changes {
                Self.note(change, &board, at: clock.now)
                for key in board.begin(at: clock.now) {
                    group.addTask { feed.yield(.ended(key, await worker.step(key.kind, key.name))) }
                }
            }
            group.cancelAll()
        }
        try Task.checkCancellation()
    }

    private func sweep() async {
        while !Task.isCancelled {
            do {
                try await OrphanSweep(worker: worker).run()
            } catch {
                if Task.isCancelled { return }
                report(.trouble("what transfers that are gone may have left is not looked for: \(error)"))
            }
            do { try await Task.sleep(for: .seconds(Self.sweepSeconds)) } catch { return }
        }
    }

    private static func note(_ change: Change, _ board: inout TransferBoard, at now: ContinuousClock.Instant) {
        switch change {
        case .tick: break
        case .ended(let key, let outcome): board.ended(key, outcome, at: now)
        case .event(let kind, .synced(let objects)):
            board.sync(kind, objects.compactMap { Transfer($0) }, at: now)
        case .event(_, .added(let object)), .event(_, .modified(let object)):
            if let transfer = Transfer(object) { board.put(transfer, at: now) }
        case .event(_, .deleted(let object)):
            if let transfer = Transfer(object) { board.remove(TransferBoard.Key(transfer)) }
        }
    }

    /// Feeds what becomes of the transfers of a kind. What keeps it from that is told, and tried again.
    private func watch(_ kind: Transfer.Kind, _ feed: AsyncStream<Change>.Continuation) async {
        while !Task.isCancelled {
            do {
                let resource = try await worker.store.resource(kind)
                for try await event in client.watch(resource, namespace: settings.namespace) {
                    feed.yield(.event(kind, event))
                }
            } catch {
                if Task.isCancelled { return }
                report(.trouble("\(error)"))
            }
            do { try await Task.sleep(for: .seconds(Self.watchSeconds)) } catch { return }
        }
    }
}
