internal import Basics
internal import Kubernetes
internal import Logging
internal import Synchronization

/// The cluster that the plugin's process runs in, or the one of `KUBECONFIG`. Where neither is set there is none, and
/// nothing is in it: the plugin then has its default settings.
///
/// Making one asks nothing of anyone; the first call connects.
final class KubernetesCluster: ClusterSource {
    private let environment: [String: String]
    private let logger: Logger
    private let clock: any WallClock
    private let made = Mutex<KubernetesClient?>(nil)
    private let answers = Mutex<[String: (time: Timestamp, answer: Result<[KubernetesObject], VeleroError>)]>([:])

    /// Velero waits for an action without a limit of its own, and asks for each item: what takes longer is given up.
    private static let patience = KubernetesClient.Patience(totalSeconds: 10)
    /// How long an answer, or that there was none, holds: settings and Velero's backups are asked for at each item.
    private static let memorySeconds = 30.0
    /// Answers kept at most.
    private static let mostAnswers = 64

    init(_ environment: [String: String], logger: Logger, clock: any WallClock) {
        self.environment = environment
        self.logger = logger
        self.clock = clock
    }

    func client() async throws(VeleroError) -> KubernetesClient? {
        do throws(KubernetesError) { return try await connected() } catch { throw VeleroError(error) }
    }

    /// A client; nil outside a cluster.
    private func connected() async throws(KubernetesError) -> KubernetesClient? {
        if let made = made.withLock({ $0 }) { return made }
        let isConfigured = ["KUBERNETES_SERVICE_HOST", "KUBECONFIG"].contains { environment[$0]?.isEmpty == false }
        guard isConfigured else { return nil }
        // The user's own file is not the plugin's: without a home it is not looked for.
        var variables = environment
        variables["HOME"] = nil
        let new = KubernetesClient(
            try await KubernetesConfiguration.load(environment: variables), patience: Self.patience, clock: clock,
            logger: logger)
        return made.withLock { made in
            // Of two calls at once, the one that was first.
            if made == nil { made = new }
            return made
        }
    }

    /// What `ask` answers, or answered to the same question a short while ago.
    private func remembered(
        _ question: String, _ ask: () async throws(VeleroError) -> [KubernetesObject]
    ) async throws(VeleroError) -> [KubernetesObject] {
        let now = clock.now()
        let known = answers.withLock { $0[question] }
        if let known, now - known.time < Self.memorySeconds, now >= known.time { return try known.answer.get() }
        let answer: Result<[KubernetesObject], VeleroError>
        do throws(VeleroError) {
            answer = .success(try await ask())
        } catch {
            // A call that was given up says nothing of the cluster to the next.
            guard error.code != .cancelled else { throw error }
            answer = .failure(error)
        }
        answers.withLock { answers in
            if answers.count >= Self.mostAnswers { answers = [:] }
            answers[question] = (clock.now(), answer)
        }
        return try answer.get()
    }

    func configMaps(
        namespace: String, matching selector: LabelSelector
    ) async throws(VeleroError) -> [KubernetesObject] {
        try await remembered("configmaps \(namespace) \(selector)") { () throws(VeleroError) in
            do throws(KubernetesError) {
                return try await connected()?.list(.configMaps, namespace: namespace, ListOptions(labels: selector))
                    .items ?? []
            } catch {
                throw VeleroError(error)
            }
        }
    }

    func object(_ identifier: ResourceIdentifier) async throws(VeleroError) -> KubernetesObject? {
        guard identifier.group == "velero.io" || identifier.resource == APIResource.configMaps.plural else {
            return try await asked(identifier)
        }
        return try await remembered("\(identifier)") { () throws(VeleroError) in
            try await asked(identifier).map { [$0] } ?? []
        }.first
    }

    private func asked(_ identifier: ResourceIdentifier) async throws(VeleroError) -> KubernetesObject? {
        do throws(KubernetesError) {
            guard let client = try await connected(), let resource = try await resource(identifier, client) else {
                return nil
            }
            return try await client.find(resource, namespace: identifier.namespace, name: identifier.name)
        } catch {
            throw VeleroError(error)
        }
    }

    private func resource(
        _ identifier: ResourceIdentifier, _ client: KubernetesClient
    ) async throws(KubernetesError) -> APIResource? {
        // Those of every server need no discovery.
        for known in [APIResource.configMaps, .persistentVolumes, .persistentVolumeClaims]
        where identifier.group.isEmpty && known.plural == identifier.resource { return known }
        return try await client.resource(named: identifier.groupResource)
    }
}

extension VeleroError {
    /// Velero's view of an error of the API.
    init(_ error: KubernetesError, fileID: String = #fileID, line: UInt32 = #line) {
        let code: Code =
            switch error.code {
            case .unauthorized, .forbidden: .accessDenied
            case .notFound: .notFound
            case .unavailable, .unreachable, .timedOut, .tooManyRequests: .unavailable
            case .cancelled: .cancelled
            default: .failed
            }
        self.init(code, error.message, cause: error, fileID: fileID, line: line)
    }
}
