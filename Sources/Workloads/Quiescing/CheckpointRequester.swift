internal import Kubernetes

/// Asks the pods of a workload for a checkpoint.
struct CheckpointRequester: Sendable {
    let client: KubernetesClient
    let policy: QuiescePolicy

    /// What was asked of whom, and what it answered.
    struct Answer: Sendable {
        var pod: String
        var text: String
    }

    /// Asks those pods that run, all at once, and answers what they said, and of those that do not run yet, or no more,
    /// that they were not asked. Throws `.checkpoint` when one of them cannot be asked, says no, or does not answer within
    /// `seconds`.
    func ask(
        _ request: QuiescePolicy.Request, pods: [KubernetesObject], of workload: String, seconds: Double
    ) async throws -> [Answer] {
        var asked = PodRank.sorted(pods.filter(\.isRunning))
        guard !asked.isEmpty else {
            throw QuiesceError(.checkpoint, "\(workload) cannot be asked for a checkpoint: none of its pods runs")
        }
        // Pods that have ended are ranks that are done, or that others have taken the place of.
        let missing = PodRank.missing(pods.filter(\.mayRun), running: asked)
        if policy.ranks == .first {
            if let first = missing.first, PodRank(first).isKnownToPrecede(PodRank(asked[0])) {
                throw QuiesceError(
                    .checkpoint,
                    "\(workload) cannot be asked for a checkpoint: its first rank, \(first.label), is \(first.stateInWords), and \(asked[0].label) is not it; wait for it, or ask all ranks (\(BecalmAnnotation.checkpointRanks): all)"
                )
            }
            asked = Array(asked.prefix(1))
        }
        for pod in asked {
            if request.isForContainer { try requireContainer(pod) }
            if case .signal(let name) = request { try requireOwnProcesses(pod, name) }
        }
        // Which ranks were left out belongs to the record: what they hold may not be in the checkpoint.
        let left = policy.ranks == .first ? [] : missing
        let unasked = left.map { Answer(pod: $0.name, text: "not asked: it is \($0.stateInWords)") }
        return try await withThrowingTaskGroup(of: Answer.self) { group in
            for pod in asked {
                group.addTask { Answer(pod: pod.name, text: try await ask(request, pod, seconds)) }
            }
            var answers = unasked
            for try await answer in group { answers.append(answer) }
            return answers.sorted { $0.pod < $1.pod }
        }
    }

    private func ask(
        _ request: QuiescePolicy.Request, _ pod: KubernetesObject, _ seconds: Double
    ) async throws -> String {
        do {
            switch request {
            case .command(let words): return try await run(words, pod, seconds)
            case .signal(let name): return try await signal(String(name.dropFirst(3)), pod, seconds)
            case .file(let path): return try await run(["touch", path], pod, seconds)
            case .http(let method, let port, let path):
                let (status, isSuccess, body) = try await client.ask(
                    namespace: pod.namespace, pod: pod.name, port: port, method: method, path: path, seconds: seconds)
                guard isSuccess else {
                    let said = String(decoding: body.prefix(200), as: UTF8.self).filter { !$0.isNewline }
                    throw QuiesceError(
                        .checkpoint,
                        "\(pod.label) was asked for a checkpoint (\(method) \(port)\(path)) and answered \(status): \(said)"
                    )
                }
                return "\(status)"
            }
        } catch let error as KubernetesError where error.code != .cancelled {
            throw QuiesceError(.checkpoint, "no checkpoint of \(pod.label): \(error.message)", cause: error)
        }
    }

    private func run(_ words: [String], _ pod: KubernetesObject, _ seconds: Double) async throws -> String {
        let result = try await execute(words, pod, seconds)
        guard result.exitCode == 0 else { throw refusal(words, result, pod) }
        return "exit 0"
    }

    private func refusal(_ words: [String], _ result: ExecResult, _ pod: KubernetesObject) -> QuiesceError {
        QuiesceError(
            .checkpoint,
            "\(pod.label) was asked for a checkpoint, and `\(words.first ?? "")` failed with \(result.exitCode): \(result.lastWords)"
        )
    }

    private func execute(_ words: [String], _ pod: KubernetesObject, _ seconds: Double) async throws -> ExecResult {
        try await client.execute(
            ExecRequest(
                namespace: pod.namespace, pod: pod.name, container: container(of: pod), command: words,
                seconds: seconds), maximumBytes: 64 << 10)
    }

    /// Sends process 1 a signal: by `kill`, which is a program in some images and a word of the shell in others.
    private func signal(_ name: String, _ pod: KubernetesObject, _ seconds: Double) async throws -> String {
        var cause: KubernetesError?
        for words in [["kill", "-\(name)", "1"], ["sh", "-c", "kill -\(name) 1"]] {
            do {
                let result = try await execute(words, pod, seconds)
                if result.isProgramMissing { continue }
                guard result.exitCode == 0 else { throw refusal(words, result, pod) }
                return "exit 0"
            } catch let error as KubernetesError where error.code == .failed && !error.isAmbiguous {
                cause = error
            }
        }
        throw QuiesceError(
            .checkpoint,
            "no checkpoint of \(pod.label): its image has neither `kill` nor `sh`, so process 1 cannot be sent SIG\(name); use \(BecalmAnnotation.checkpointHTTP), or \(BecalmAnnotation.checkpointCommand) with a program of the image",
            cause: cause)
    }

    /// Throws `.checkpoint` for a pod in which process 1 is not its container's: with the node's processes it is the node's
    /// init, to which SIGINT is ctrl-alt-del, and with those of all containers it is `pause`.
    private func requireOwnProcesses(_ pod: KubernetesObject, _ name: String) throws {
        let isOfNode = pod["spec", "hostPID"]?.bool ?? false
        guard isOfNode || pod["spec", "shareProcessNamespace"]?.bool ?? false else { return }
        let who = isOfNode ? "the node's init (hostPID)" : "not its container's (shareProcessNamespace)"
        throw QuiesceError(
            .checkpoint,
            "no checkpoint of \(pod.label): process 1 in it is \(who), so \(name) is not sent there; use \(BecalmAnnotation.checkpointCommand) with a command that finds the right process, or \(BecalmAnnotation.checkpointHTTP)"
        )
    }

    /// Throws `.checkpoint` when a pod does not have the container that is named: before any of them is asked.
    private func requireContainer(_ pod: KubernetesObject) throws {
        guard !policy.container.isEmpty else { return }
        let lists = ["containers", "initContainers", "ephemeralContainers"]
        let names = lists.flatMap { pod["spec", .key($0)]?.array ?? [] }.compactMap { $0["name"]?.string }
        guard !names.contains(policy.container) else { return }
        throw QuiesceError(
            .checkpoint,
            "no checkpoint of \(pod.label): it has no container `\(policy.container)` (--checkpoint-container, \(BecalmAnnotation.checkpointContainer)); there are \(names.joined(separator: ", "))"
        )
    }

    private func container(of pod: KubernetesObject) -> String {
        if !policy.container.isEmpty { return policy.container }
        if let name = pod.annotations["kubectl.kubernetes.io/default-container"], !name.isEmpty { return name }
        return pod["spec", "containers", 0, "name"]?.string ?? ""
    }
}

extension QuiescePolicy.Request {
    /// Whether it goes to a container, not to the pod as a whole.
    fileprivate var isForContainer: Bool {
        if case .http = self { return false }
        return true
    }
}

extension KubernetesObject {
    /// Whether a pod can be asked for something.
    fileprivate var isRunning: Bool { text("status", "phase") == "Running" && !isBeingDeleted }

    /// What keeps a pod from being asked.
    fileprivate var stateInWords: String { isBeingDeleted ? "ending" : text("status", "phase") ?? "of no phase" }
}
