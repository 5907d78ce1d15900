internal import Basics
internal import Kubernetes
internal import Synchronization
internal import Workloads

/// Follows one mover's Job to its end.
struct MoverWatch: Sendable {
    let client: KubernetesClient
    let mover: MoverJob
    /// The Job's uid: pods of an earlier one of its name, which go after it, have said what they have said.
    let job: String
    /// Told of what a mover says while it works, and of what keeps it from beginning, each once.
    let report: @Sendable (MoverEvent) -> Void
    /// Seconds between looks at what keeps a pod from beginning, and between annotations with progress.
    var tickSeconds = 5.0

    private enum Change: Sendable {
        case job(KubernetesObject?)
        case pods([KubernetesObject])
        case progress(Int, MoverProgress)
        case tick
        case lost(any Error)
    }

    /// The mover's last word: one for each index of an Indexed Job, in their order, or a single one that is no success.
    /// Throws `mover_failed` for one that has none, and what the cluster refuses.
    func results() async throws -> [MoverResult] {
        let (changes, feed) = AsyncStream<Change>.makeStream()
        return try await withThrowingTaskGroup(of: [MoverResult]?.self) { group in
            defer {
                feed.finish()
                group.cancelAll()
            }
            group.addTask {
                await watchJob(feed)
                return nil
            }
            group.addTask {
                await watchPods(feed)
                return nil
            }
            group.addTask {
                while true {
                    do { try await Task.sleep(for: .seconds(tickSeconds)) } catch { return nil }
                    feed.yield(.tick)
                }
            }
            group.addTask { try await judge(changes, feed) }
            while let ended = try await group.next() {
                if let result = ended { return result }
            }
            throw CancellationError()
        }
    }

    // MARK: What changes

    private func watchJob(_ feed: AsyncStream<Change>.Continuation) async {
        let watch = client.watch(
            .jobs, namespace: mover.namespace, ListOptions(fields: "metadata.name=\(mover.name)"))
        do {
            for try await event in watch {
                switch event {
                case .synced(let jobs): feed.yield(.job(jobs.first))
                case .added(let job), .modified(let job): feed.yield(.job(job))
                case .deleted: feed.yield(.job(nil))
                }
            }
        } catch {
            feed.yield(.lost(error))
        }
    }

    private func watchPods(_ feed: AsyncStream<Change>.Continuation) async {
        let labels = LabelSelector(matching: ["job-name": mover.name])
        var pods: [String: KubernetesObject] = [:]
        do {
            for try await event in client.watch(.pods, namespace: mover.namespace, ListOptions(labels: labels)) {
                switch event {
                case .synced(let all):
                    pods = pods.filter { Self.hasSpoken($0.value) }
                    for pod in all { pods[pod.name] = pod }
                case .added(let pod), .modified(let pod): pods[pod.name] = pod
                // What it said counts all the same.
                case .deleted(let pod): pods[pod.name] = Self.hasSpoken(pod) ? pod : nil
                }
                feed.yield(.pods(MoverStanding.pods(Array(pods.values), ofJob: job)))
            }
        } catch {
            feed.yield(.lost(error))
        }
    }

    private static func hasSpoken(_ pod: KubernetesObject) -> Bool {
        pod["status", "containerStatuses", 0, "state", "terminated"] != nil
    }

    // MARK: What it means

    /// What is known of a Job while it goes on.
    private struct Watched {
        /// The inner nil: it is gone.
        var job: KubernetesObject??
        var pods: [KubernetesObject]?
        /// What keeps each index from beginning, as it was told last.
        var told: [Int: String] = [:]
        /// Indexes of which a pod has run.
        var begun: Set<Int> = []
        /// When something of it ran last, or it was begun.
        var active: ContinuousClock.Instant
        /// Since the Job was gone or complete, and a pod's last word was not there.
        var ticksInDoubt = 0
        /// By index.
        var said: [Int: MoverProgress] = [:]
        var written = MoverProgress()
        var ended: [Int: MoverResult] = [:]
        /// What reads the logs of the pods that run, and ends with this.
        var logs: [Int: (pod: String, task: OwnedTask<Void, Never>)] = [:]

        /// What all have done together.
        func sum(_ indexes: Int) -> MoverProgress {
            MoverProgress(sum: (0..<indexes).map { said[$0] ?? MoverProgress() })
        }
    }

    private func judge(
        _ changes: AsyncStream<Change>, _ feed: AsyncStream<Change>.Continuation
    ) async throws -> [MoverResult] {
        var watched = Watched(active: ContinuousClock().now)
        for await change in changes {
            var isTick = false
            switch change {
            case .job(let now): watched.job = .some(now)
            case .pods(let now): watched.pods = now
            case .progress(let index, let progress):
                watched.said[index] = progress
                report(.progress(claim: mover.origin, watched.sum(mover.indexes)))
                continue
            case .lost(let error): throw error
            case .tick:
                isTick = true
                let sum = watched.sum(mover.indexes)
                if sum != watched.written {
                    watched.written = sum
                    try await annotate(MoverJob.progressAnnotation, sum.json.serialized(escapingHTML: false))
                }
            }
            guard let job = watched.job, let pods = watched.pods else { continue }
            if let results = try await judge(job, pods, &watched, isTick: isTick, feed) { return results }
        }
        throw CancellationError()
    }

    /// The last words, when all have been said; one that is no success is alone. Throws what ends it without.
    private func judge(
        _ job: KubernetesObject?, _ pods: [KubernetesObject], _ watched: inout Watched, isTick: Bool,
        _ feed: AsyncStream<Change>.Continuation
    ) async throws -> [MoverResult]? {
        let standings = MoverStanding.each(of: mover.indexes, job: job, pods: pods, claim: mover.origin)
        for case (let index, .ended(let result)) in standings.enumerated() where watched.ended[index] == nil {
            watched.ended[index] = result
            watched.logs[index] = nil
            watched.active = ContinuousClock().now
            try await write(result, index)
            // The others would be in vain: they go with the Job.
            guard result.isMoved else { return [result] }
        }
        let results = (0..<mover.indexes).compactMap { watched.ended[$0] }
        if results.count == mover.indexes { return results }
        let open = standings.enumerated().map { watched.ended[$0.offset].map { .ended($0) } ?? $0.element }
        if let reason = MoverStanding.failure(open, pods: pods) {
            // The Job's watch may be ahead of the pods', which tell what a pod said before it went with the Job.
            let mayBeAhead = job.map { MoverStanding.isComplete($0) } ?? true
            guard mayBeAhead, watched.ticksInDoubt < 2 else { throw failure(reason) }
            if isTick { watched.ticksInDoubt += 1 }
            return nil
        }
        for case (let index, .running(let pod)) in open.enumerated() {
            watched.begun.insert(index)
            watched.active = ContinuousClock().now
            if watched.logs[index]?.pod != pod {
                watched.logs[index] = (pod, OwnedTask { await self.follow(pod, index, feed) })
            }
        }
        for case (let index, .waiting(let reason)) in open.enumerated() {
            let own = mover.isIndexed ? pods.filter { MoverStanding.index(of: $0) == index } : pods
            try await wait(reason, index, own, &watched, isTick: isTick)
        }
        return nil
    }

    /// Tells what keeps an index from beginning; throws where that is in vain. Those that have no room wait for those that
    /// run.
    private func wait(
        _ reason: String, _ index: Int, _ pods: [KubernetesObject], _ watched: inout Watched, isTick: Bool
    ) async throws {
        var reason = reason
        if reason.isEmpty, isTick {
            reason = await MoverEvents(client: client, namespace: mover.namespace).obstacle(job: job, pods: pods)
        }
        if !reason.isEmpty, reason != watched.told[index] {
            // Many may wait for the same.
            let isNews = !watched.told.values.contains(reason)
            watched.told[index] = reason
            if isNews { report(.waiting(claim: mover.origin, reason: reason)) }
        }
        if MoverStanding.hopeless.contains(where: { reason.hasPrefix($0) }) { throw failure(reason) }
        let waited = (ContinuousClock().now - watched.active) / .seconds(1)
        guard watched.begun.contains(index) || waited < Double(mover.settings.startSeconds) else {
            let words = watched.told[index].map { ": \($0)" } ?? ""
            throw failure("it has not begun within \(mover.settings.startSeconds) s\(words)")
        }
    }

    /// Writes a last word on the Job: that of a share with less detail, for annotations have 256 KiB in all.
    private func write(_ result: MoverResult, _ index: Int) async throws {
        guard mover.isIndexed else {
            return try await annotate(MoverJob.resultAnnotation, result.json.serialized(escapingHTML: false))
        }
        let text = result.text(maximumBytes: MoverResult.maximumShareBytes)
        try await annotate(MoverJob.resultAnnotation(index: index), text)
    }

    private func failure(_ reason: String) -> JourneyError {
        JourneyError(
            .failed, kind: "mover_failed",
            "the mover of claim \(mover.namespace)/\(mover.origin) (\(mover.action.word)) failed: \(reason)")
    }

    private func annotate(_ key: String, _ text: [UInt8]) async throws {
        let text = String(decoding: text, as: UTF8.self)
        do throws(KubernetesError) {
            _ = try await client.patch(
                .jobs, namespace: mover.namespace, name: mover.name,
                .merge(["metadata": ["annotations": [key: .string(text)]]]))
        } catch {
            // Somebody has deleted the Job: the watch tells.
            guard error.code == .notFound else { throw error }
        }
    }

    // MARK: The log

    /// Reads what a pod says until it ends. A connection that breaks is made anew, and one that the server ends: it does so
    /// with those that grow old. What was said meanwhile is old anyway.
    private func follow(_ pod: String, _ index: Int, _ feed: AsyncStream<Change>.Continuation) async {
        var failures = 0
        while !Task.isCancelled, failures < 20 {
            let heard = Atomic<Bool>(false)
            do {
                try await client.readLines(
                    namespace: mover.namespace, pod: pod, LogOptions(follows: true, tailLines: 1)
                ) { line in
                    if let json = try? JSONValue(parsing: line), let said = MoverProgress(json) {
                        heard.store(true, ordering: .relaxed)
                        feed.yield(.progress(index, said))
                    }
                }
            } catch {
                // Progress is for people: without it the mover does its work all the same.
            }
            failures = heard.load(ordering: .relaxed) ? 1 : failures + 1
            do { try await Task.sleep(for: .seconds(min(Double(failures), 5))) } catch { return }
        }
    }
}
