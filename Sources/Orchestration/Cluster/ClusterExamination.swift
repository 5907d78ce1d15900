internal import Basics
package import Kubernetes
internal import Workloads

/// Examines a cluster for what Becalm does there: whether it answers, which kinds can be stopped and how, what the caller may do,
/// which volumes are read from snapshots, and who holds deadlines when nobody is there. Changes nothing; what is found is
/// answered, never thrown.
package struct ClusterExamination: Sendable {
    /// As those of a store are: one thing that was looked at.
    package typealias Finding = DoctorJourney.Finding

    private let client: KubernetesClient
    private let namespace: String

    /// What the caller may do is asked for `namespace`; for all of them where that is empty.
    package init(_ client: KubernetesClient, namespace: String) {
        self.client = client
        self.namespace = namespace
    }

    /// The oldest server that is supported: 1.20.
    private static let oldest = ServerVersion(major: 1, minor: 20)
    /// Questions that are asked at once.
    private static let width = 8
    /// Findings of one sort that are told one by one.
    private static let most = 20

    private var place: String { namespace.isEmpty ? "all namespaces" : "namespace \(namespace)" }

    /// One after the other; a server that does not answer is the only one.
    package func findings() async -> [Finding] {
        let version: ServerVersion
        do {
            let start = ContinuousClock.now
            version = try await client.serverVersion()
            let milliseconds = Int((ContinuousClock.now - start) / .milliseconds(1))
            let message = "Kubernetes \(version) answers, in \(milliseconds) ms"
            if version < Self.oldest {
                return [Finding("cluster", .failed, "\(message), and is older than \(Self.oldest)", status: .failed)]
            }
            var findings = [Finding("cluster", .fine, message)]
            findings += await guarding("kinds") { [try await kinds(version)] }
            findings += await guarding("permissions", permissions)
            findings += await guarding("volumes", volumes)
            findings += await guarding("deadlines", deadlines)
            findings += await guarding("held", held)
            return findings
        } catch {
            return [Finding("cluster", failed: error)]
        }
    }

    private func guarding(_ name: String, _ body: () async throws -> [Finding]) async -> [Finding] {
        do {
            return try await body()
        } catch let error as KubernetesError where error.code == .forbidden {
            // Much of it is the cluster's: who works in a namespace need not be able to read it.
            return [Finding(name, .warning, "not looked at: \(error.message)")]
        } catch {
            return [Finding(name, failed: error)]
        }
    }

    // MARK: Kinds

    private func kinds(_ version: ServerVersion) async throws -> Finding {
        var served: [String] = []
        for adapter in WorkloadCatalog.standard.adapters
        where try await client.resource(group: adapter.kind.group, kind: adapter.kind.kind) != nil {
            served.append("\(adapter.kind)")
        }
        let jobs =
            version < ServerVersion(major: 1, minor: 21)
            ? "; Jobs by parallelism 0, for the server is older than their field 'suspend'" : ""
        return Finding("kinds", .fine, "it serves \(served.joined(separator: ", "))\(jobs)")
    }

    // MARK: Permissions

    /// A finding for each task, and one for each thing that is done without.
    private func permissions() async throws -> [Finding] {
        var asked: [(need: ClusterNeed, question: Question)] = []
        for need in ClusterNeed.all {
            guard let resource = try await client.resource(group: need.kind.group, kind: need.kind.kind) else {
                continue
            }
            asked += need.verbs.map {
                (need, Question(resource: resource, subresource: need.subresource, verb: $0))
            }
        }
        let refusals = try await refusals(of: Set(asked.map(\.question)))
        var refused: [ClusterNeed.Task: [String]] = [:]
        var lost: [Finding] = []
        for (need, question) in asked where refusals.contains(question) {
            let words = "\(question.verb) \(need.name)"
            if need.otherwise.isEmpty {
                refused[need.task, default: []].append(words)
            } else {
                lost.append(Finding("permissions", .warning, "you may not \(words): \(need.otherwise)"))
            }
        }
        return ClusterNeed.Task.allCases.map { task in
            guard let refused = refused[task] else {
                return Finding("permissions", .fine, "in \(place) you may do all that '\(task.rawValue)' needs")
            }
            return Finding(
                "permissions", .failed,
                "in \(place) you may not \(refused.joined(separator: ", ")), so \(task.words); plugin/examples/workload-role.yaml is a role that grants it",
                status: .failed)
        } + lost
    }

    /// What several tasks need is asked once.
    private struct Question: Hashable, Sendable {
        var resource: APIResource
        var subresource: String
        var verb: String
    }

    /// Those that the server says no to.
    private func refusals(of questions: Set<Question>) async throws -> Set<Question> {
        try await withThrowingTaskGroup(of: Question?.self) { group in
            var refused: Set<Question> = []
            for (index, question) in questions.enumerated() {
                if index >= Self.width, let answer = try await group.next(), let answer { refused.insert(answer) }
                group.addTask { try await allows(question) ? nil : question }
            }
            for try await answer in group { if let answer { refused.insert(answer) } }
            return refused
        }
    }

    private func allows(_ question: Question) async throws(KubernetesError) -> Bool {
        try await client.reviewAccess(
            question.verb, question.resource, subresource: question.subresource,
            namespace: question.resource.isNamespaced ? namespace : ""
        ).isAllowed
    }

    // MARK: Volumes

    /// How volumes of each storage class are read.
    private func volumes() async throws -> [Finding] {
        guard let resource = try await client.resource(group: "storage.k8s.io", kind: "StorageClass") else { return [] }
        let classes = try await client.list(resource).items.sorted { $0.name < $1.name }
        var snapshots: [KubernetesObject] = []
        if let resource = try await client.resource(group: ClaimSnapshots.group, kind: "VolumeSnapshotClass") {
            snapshots = try await client.list(resource).items
        }
        return classes.prefix(Self.most).map { storage in
            let driver = storage["provisioner"]?.string ?? ""
            let choice = ClaimSnapshots.choose(snapshots, of: driver)
            guard let name = choice.name else {
                return Finding(
                    "volumes", .warning,
                    "volumes of the storage class \(storage.name) are read live, so a workload stands still for the whole upload: \(choice.reason)"
                )
            }
            return Finding(
                "volumes", .fine,
                "volumes of the storage class \(storage.name) are read from snapshots (\(name)): a workload stands still while they are cut"
            )
        }
    }

    // MARK: Deadlines

    /// Whether something lets workloads go whose holder is dead.
    private func deadlines() async throws -> [Finding] {
        guard let resource = try await client.resource(group: "batch", kind: "CronJob") else { return [] }
        let sweepers = try await client.list(resource).items.filter(Self.resumesExpired)
        guard let sweeper = sweepers.first(where: { $0["spec", "suspend"]?.bool != true }) else {
            let suspended = sweepers.first.map { "\($0.label) is suspended, so" } ?? ""
            let words = suspended.isEmpty ? "no CronJob runs 'becalm resume --expired':" : suspended
            return [
                Finding(
                    "deadlines", .warning,
                    "\(words) a workload whose holder dies stays stopped until somebody runs that; install plugin/examples/resume-expired.yaml"
                )
            ]
        }
        return [Finding("deadlines", .fine, "\(sweeper.label) lets workloads go whose deadline is past")]
    }

    private static func resumesExpired(_ cron: KubernetesObject) -> Bool {
        let containers = cron["spec", "jobTemplate", "spec", "template", "spec", "containers"]?.array ?? []
        return containers.contains { container in
            let words = ["command", "args"].flatMap { container[.key($0)]?.array ?? [] }.compactMap(\.string)
            return words.contains { $0.contains("resume") } && words.contains { $0.contains("--expired") }
        }
    }

    // MARK: What is held

    /// What restores hold. Every kind is listed for it, which is too much to ask of a whole cluster.
    private func gated() async -> [Finding] {
        guard !namespace.isEmpty else { return [] }
        do {
            return try await GateLifter(client).held(in: namespace).prefix(Self.most).map { gated in
                let command = "'becalm resume --restored \(gated.workload)'"
                let advice =
                    gated.isWhole
                    ? "\(command) lets it go"
                    : "where no restore is at work on that any more, restore it again, or \(command) with --force has it run with what is there"
                return Finding(
                    "held", .warning, "\(gated.workload) is held by a restore and waits for \(gated.words): \(advice)")
            }
        } catch {
            return [Finding("held", .warning, "what restores hold is not known: \(JourneyError(error).message)")]
        }
    }

    /// Workloads that should run again by now.
    private func held() async throws -> [Finding] {
        let (entries, unreadable) = try await QuiesceJournal.list(client, namespace: namespace)
        var findings = unreadable.map { Finding("held", .failed, $0.message, status: .failed) }
        var waiting = 0
        for (journal, _) in entries {
            // By the server's clock, and as it is now.
            let (entry, now) = try await journal.read()
            guard let entry else { continue }
            guard entry.isOver(at: now) else {
                waiting += 1
                continue
            }
            guard findings.count < Self.most else { break }
            findings.append(
                Finding(
                    "held", .warning,
                    "\(entry.workload) is still held by \(entry.lease.holder), which is gone or late: 'becalm resume --expired' lets it go"
                ))
        }
        findings += await gated()
        if findings.isEmpty {
            findings.append(Finding("held", .fine, "\(counted(waiting, "workload")) held, none for too long"))
        }
        return findings
    }
}
