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

    /// Asks those pods that run, all at once, and answers what they said. Throws `.checkpoint` when one of them cannot be
    /// asked, says no, or does not answer within `seconds`.
    func ask(
        _ request: QuiescePolicy.Request, pods: [KubernetesObject], of workload: String, seconds: Double
    ) async throws -> [Answer] {
        let running = pods.filter { $0.text("status", "phase") == "Running" && !$0.isBeingDeleted }
        var asked = Self.inOrderOfRanks(running)
        guard !asked.isEmpty else {
            throw QuiesceError(.checkpoint, "\(workload) cannot be asked for a checkpoint: none of its pods runs")
        }
        if policy.ranks == .first { asked = Array(asked.prefix(1)) }
        if request.isForContainer { for pod in asked { try requireContainer(pod) } }
        return try await withThrowingTaskGroup(of: Answer.self) { group in
            for pod in asked {
                group.addTask { Answer(pod: pod.name, text: try await ask(request, pod, seconds)) }
            }
            var answers: [Answer] = []
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
        let result = try await client.execute(
            ExecRequest(
                namespace: pod.namespace, pod: pod.name, container: container(of: pod), command: words,
                seconds: seconds), maximumBytes: 64 << 10)
        guard result.exitCode == 0 else {
            throw QuiesceError(
                .checkpoint,
                "\(pod.label) was asked for a checkpoint, and `\(words.first ?? "")` failed with \(result.exitCode): \(result.lastWords)"
            )
        }
        return "exit 0"
    }

    /// Sends process 1 a signal: by `kill`, which is a program in some images and a word of the shell in others.
    private func signal(_ name: String, _ pod: KubernetesObject, _ seconds: Double) async throws -> String {
        do {
            return try await run(["kill", "-\(name)", "1"], pod, seconds)
        } catch let error as KubernetesError where error.code == .failed && !error.isAmbiguous {
            do {
                return try await run(["sh", "-c", "kill -\(name) 1"], pod, seconds)
            } catch let error as KubernetesError where error.code == .failed && !error.isAmbiguous {
                throw QuiesceError(
                    .checkpoint,
                    "no checkpoint of \(pod.label): its image has neither `kill` nor `sh`, so process 1 cannot be sent SIG\(name); use \(BecalmAnnotation.checkpointHTTP), or \(BecalmAnnotation.checkpointCommand) with a program of the image",
                    cause: error)
            }
        }
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

    /// Pods with rank 0 first: a leader's, then by the index that their controllers write, then by name.
    static func inOrderOfRanks(_ pods: [KubernetesObject]) -> [KubernetesObject] {
        func order(_ pod: KubernetesObject) -> (Int, Int64, Int, String) {
            let labels = pod.labels
            let role = labels["training.kubeflow.org/replica-type"]?.lowercased()
            let isLeader =
                role == "master" || role == "chief" || role == "launcher"
                || labels["training.kubeflow.org/job-role"] == "master" || labels["ray.io/node-type"] == "head"
            let indexes = [
                "batch.kubernetes.io/job-completion-index", "training.kubeflow.org/replica-index",
                "leaderworkerset.sigs.k8s.io/worker-index", "apps.kubernetes.io/pod-index", "volcano.sh/task-index",
            ]
            let index = indexes.lazy.compactMap { (labels[$0] ?? pod.annotations[$0]).flatMap(Int64.init) }.first
            // `x-9` comes before `x-10`.
            return (isLeader ? 0 : 1, index ?? 0, pod.name.utf8.count, pod.name)
        }
        return pods.sorted { order($0) < order($1) }
    }
}

extension QuiescePolicy.Request {
    /// Whether it goes to a container, not to the pod as a whole.
    fileprivate var isForContainer: Bool {
        if case .http = self { return false }
        return true
    }
}
