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
        case progress(MoverProgress)
        case tick
        case lost(any Error)
    }

    /// The mover's last word. Throws `mover_failed` for one that has none, and what the cluster refuses.
    func result() async throws -> MoverResult {
        let (changes, feed) = AsyncStream<Change>.makeStream()
        return try await withThrowingTaskGroup(of: MoverResult?.self) { group in
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
                case .synced(let all): pods = Dictionary(all.map { ($0.name, $0) }) { $1 }
                case .added(let pod), .modified(let pod): pods[pod.name] = pod
                // What it said counts all the same.
                case .deleted(let pod):
                    pods[pod.name] = pod["status", "containerStatuses", 0, "state", "terminated"] == nil ? nil : pod
                }
                feed.yield(.pods(MoverStanding.pods(Array(pods.values), ofJob: job)))
            }
        } catch {
            feed.yield(.lost(error))
        }
    }

    // MARK: What it means

    private func judge(
        _ changes: AsyncStream<Change>, _ feed: AsyncStream<Change>.Continuation
    ) async throws -> MoverResult {
        let clock = ContinuousClock()
        let begun = clock.now
        var job: KubernetesObject??
        var pods: [KubernetesObject]?
        var (told, hasBegun) = ("", false)
        var ticksWithoutJob = 0
        var (said, written) = (MoverProgress(), MoverProgress())
        // It reads the log of the pod that runs, and ends with this function.
        var logs: (pod: String, task: OwnedTask<Void, Never>)?
        for await change in changes {
            switch change {
            case .job(let now): job = .some(now)
            case .pods(let now): pods = now
            case .progress(let progress):
                said = progress
                report(.progress(claim: mover.origin, progress))
                continue
            case .lost(let error): throw error
            case .tick:
                if said != written {
                    written = said
                    try await annotate(MoverJob.progressAnnotation, said.json)
                }
            }
            guard let known = job, let pods else { continue }
            switch MoverStanding(job: known, pods: pods, claim: mover.origin) {
            case .ended(let result):
                try await annotate(MoverJob.resultAnnotation, result.json)
                return result
            case .failed(let reason):
                // The Job's watch may be ahead of the pods', which tell what a pod said before it went with the Job.
                if known == nil, ticksWithoutJob < 2 {
                    if case .tick = change { ticksWithoutJob += 1 }
                    continue
                }
                throw failure(reason)
            case .running(let pod):
                hasBegun = true
                if logs?.pod != pod { logs = (pod, OwnedTask { await self.follow(pod, feed) }) }
            case .waiting(var reason):
                if reason.isEmpty, case .tick = change { reason = await obstacle(pods) }
                if !reason.isEmpty, reason != told {
                    told = reason
                    report(.waiting(claim: mover.origin, reason: reason))
                }
                if MoverStanding.hopeless.contains(where: { reason.hasPrefix($0) }) { throw failure(reason) }
                let waited = (clock.now - begun) / .seconds(1)
                guard hasBegun || waited < Double(mover.settings.startSeconds) else {
                    throw failure(
                        "it has not begun within \(mover.settings.startSeconds) s" + (told.isEmpty ? "" : ": \(told)"))
                }
            }
        }
        throw CancellationError()
    }

    private func failure(_ reason: String) -> JourneyError {
        JourneyError(
            .failed, kind: "mover_failed",
            "the mover of claim \(mover.namespace)/\(mover.origin) (\(mover.action.word)) failed: \(reason)")
    }

    /// The last warning about a pod that has not begun: a volume that cannot be attached shows nowhere else. Who may not
    /// read events does without.
    private func obstacle(_ pods: [KubernetesObject]) async -> String {
        guard let pod = pods.last(where: { $0["status", "phase"] == "Pending" }) else { return "" }
        let options = ListOptions(fields: "involvedObject.uid=\(pod.uid),type=Warning", maximumObjects: 1000)
        guard let events = try? await client.list(.events, namespace: mover.namespace, options).items,
            let last = events.max(by: { ($0["lastTimestamp"]?.string ?? "") < ($1["lastTimestamp"]?.string ?? "") })
        else { return "" }
        let words = [last["reason"], last["message"]].compactMap { $0?.string }.joined(separator: ": ")
        return String(words.prefix(1000)).split(whereSeparator: \.isNewline).joined(separator: " ")
    }

    private func annotate(_ key: String, _ json: JSONValue) async throws {
        let text = String(decoding: json.serialized(escapingHTML: false), as: UTF8.self)
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
    private func follow(_ pod: String, _ feed: AsyncStream<Change>.Continuation) async {
        var failures = 0
        while !Task.isCancelled, failures < 20 {
            let heard = Atomic<Bool>(false)
            do {
                try await client.readLines(
                    namespace: mover.namespace, pod: pod, LogOptions(follows: true, tailLines: 1)
                ) { line in
                    if let json = try? JSONValue(parsing: line), let said = MoverProgress(json) {
                        heard.store(true, ordering: .relaxed)
                        feed.yield(.progress(said))
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
