internal import Kubernetes

/// Waits until servers that get nothing more have answered what they have begun, by what they tell of themselves.
struct IdleWait: Sendable {
    let client: KubernetesClient
    let namespace: String
    let servers: [DrainPlan.Server]
    /// The routes that lead to them no more.
    let routes: [StopTarget]
    /// Seconds for which nothing may be under way before they are believed idle: what a proxy had read is on its way still.
    let settleSeconds: Double
    /// Throws when there is nothing to wait for any more, for somebody else has let the workload go.
    let check: @Sendable () async throws -> Void

    /// Seconds between two looks: servers tell no one when they are idle, they have to be asked.
    private static let lookSeconds = 1.0
    /// Seconds for a server to answer.
    private static let answerSeconds = 10.0
    /// Servers that are asked at once.
    private static let mostAtOnce = 16

    /// What came of it.
    struct Outcome: Sendable {
        /// What is still under way, in words; empty when nothing is.
        var left: [String] = []
        /// What users should know.
        var remarks: [String] = []
        /// Routes that send requests again, so that nothing ends by waiting.
        var reopened: [StopTarget] = []
    }

    /// What a server says.
    private enum Answer: Sendable {
        case requests(Int64)
        /// Nothing of what is asked, and why.
        case unreadable(String)
        case gone
    }

    /// Waits for at most `seconds`. A server that does not tell is given its termination grace.
    func wait(seconds: Double) async throws -> Outcome {
        let clock = ContinuousClock()
        let start = clock.now
        let end = start.advanced(by: .seconds(seconds))
        var quietSince: ContinuousClock.Instant?
        // Who has told once is believed to be at work when he cannot be asked for a while.
        var told: Set<String> = []
        while true {
            try await check()
            var outcome = try await look()
            guard outcome.reopened.isEmpty else { return outcome }
            var silent: [(server: DrainPlan.Server, reason: String)] = []
            for (server, answer) in try await ask() {
                switch answer {
                case .requests(let count):
                    told.insert(server.name)
                    if count > 0 { outcome.left.append("Pod \(namespace)/\(server.name) has \(count) under way") }
                case .unreadable(let reason) where told.contains(server.name):
                    outcome.left.append("Pod \(namespace)/\(server.name) does not tell any more: \(reason)")
                case .unreadable(let reason): silent.append((server, reason))
                case .gone: break
                }
            }
            let now = clock.now
            let grace = silent.map(\.server.graceSeconds).max() ?? 0
            let isGranted = start.duration(to: now) >= .seconds(grace)
            quietSince = outcome.left.isEmpty ? quietSince ?? now : nil
            let isQuiet = quietSince.map { $0.duration(to: now) >= .seconds(settleSeconds) } ?? false
            guard isQuiet && isGranted || now >= end else {
                try await Task.sleep(until: min(end, now.advanced(by: .seconds(Self.lookSeconds))), clock: clock)
                continue
            }
            if let first = silent.first {
                let given = min(Double(grace), seconds)
                outcome.remarks.append(
                    "\(silent.count) of \(servers.count) servers do not tell what they have under way (Pod \(namespace)/\(first.server.name): \(first.reason)): \(silent.count == 1 ? "it was" : "they were") given \(Int(given)) s, the pods' termination grace\(Double(grace) > seconds ? " as far as the drain timeout goes" : "")"
                )
            }
            // Somebody may have opened them since servers were asked, and these have begun anew.
            outcome.reopened = try await look().reopened
            return outcome
        }
    }

    /// Looks at the routes: those that send requests again, and those that their gateways have not taken up yet, in words, by
    /// their status where a gateway writes one.
    private func look() async throws -> Outcome {
        var outcome = Outcome()
        for target in routes {
            guard let resource = try await client.resourceInAnyVersion(of: target.kind),
                let route = try await client.find(resource, namespace: target.namespace, name: target.name),
                route.uid == target.uid
            else { continue }
            guard RouteDrain.openPools(of: route).isDisjoint(with: target.pools) else {
                outcome.reopened.append(target)
                continue
            }
            let conditions = (route["status", "parents"]?.array ?? []).flatMap { $0["conditions"]?.array ?? [] }
            let isLate = conditions.contains { condition in
                condition["type"]?.string == "Accepted"
                    && condition["observedGeneration"]?.int64.map { $0 < route.generation } ?? false
            }
            if isLate { outcome.left.append("its gateway has not taken up \(target.label)") }
        }
        return outcome
    }

    private func ask() async throws -> [(server: DrainPlan.Server, answer: Answer)] {
        try await withThrowingTaskGroup(of: (index: Int, answer: Answer).self) { group in
            var answers: [Answer?] = Array(repeating: nil, count: servers.count)
            for (index, server) in servers.enumerated() {
                if index >= Self.mostAtOnce, let (index, answer) = try await group.next() { answers[index] = answer }
                group.addTask { (index, try await ask(server)) }
            }
            for try await (index, answer) in group { answers[index] = answer }
            return zip(servers, answers).compactMap { server, answer in answer.map { (server, $0) } }
        }
    }

    private func ask(_ server: DrainPlan.Server) async throws -> Answer {
        guard !server.ports.isEmpty else { return .unreadable("its InferencePool names no port") }
        var sum: Int64 = 0
        for port in server.ports {
            do throws(any Error) {
                let (status, isSuccess, body) = try await client.ask(
                    namespace: namespace, pod: server.name, port: port, method: "GET", path: "/metrics",
                    seconds: Self.answerSeconds)
                guard isSuccess else { return try await unread(server, "GET \(port)/metrics is answered \(status)") }
                guard let count = ServerMetrics.requestsUnderWay(in: body) else {
                    return .unreadable("what it tells at \(port)/metrics is neither vLLM's nor SGLang's")
                }
                sum += count
            } catch let error as KubernetesError where error.code != .cancelled {
                return try await unread(server, error.message)
            }
        }
        return .requests(sum)
    }

    /// A server that does not answer: one whose pod is gone has nothing under way.
    private func unread(_ server: DrainPlan.Server, _ reason: String) async throws -> Answer {
        let pod = try await client.find(.pods, namespace: namespace, name: server.name)
        return pod?.mayRun ?? false ? .unreadable(reason) : .gone
    }
}
