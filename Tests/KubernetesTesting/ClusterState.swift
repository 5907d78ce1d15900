package import Kubernetes

/// What a `FakeCluster` holds and how it behaves, under its lock.
package struct ClusterState: Sendable {
    /// A request, for those who want to refuse or count it.
    package struct Request: Sendable, Equatable {
        package var method: String
        /// Without the query.
        package var path: String
        /// Whether nothing is to come of it (`dryRun`).
        package var isTrial = false
    }

    /// What watchers are told.
    struct Change: Sendable {
        var version: Int64
        var type: String
        var object: KubernetesObject
    }

    /// What is served.
    package var kinds: [ClusterKind]
    /// By path: `/apis/batch/v1/namespaces/ml/jobs/run42`.
    package var objects: [String: KubernetesObject] = [:]
    package var version: Int64 = 1
    var changes: [Change] = []
    /// Seconds that the server's clock is ahead.
    package var ahead: Int64 = 0

    // MARK: The client's end

    /// Writes that are still answered; nil for all.
    package var writesLeft: Int?
    /// Whether the write that is one too many is done all the same, and only its answer lost.
    var doesLastWrite = false
    package var isDead = false
    /// Writes that came so far.
    package var writes = 0

    // MARK: Behaviour

    /// `create jobs`, `get pods/proxy`: what is forbidden, as rules of roles name it. Who asks whether it may is told so.
    package var forbidden: Set<String> = []
    /// Fields of a Job's `spec` that this server does not know, and drops.
    package var unknownJobFields: Set<String> = []
    /// Fields of the `spec` of any kind, by the kind, that this server does not know: it drops them and warns.
    package var unknownFields: [String: Set<String>] = [:]
    /// Groups whose kinds have a status subresource.
    package var statusGroups: Set<String> = []
    /// The status that a request is refused with: see `FakeCluster.refuse`.
    var refuses: @Sendable (Request) -> Int? = { _ in nil }
    /// Why, in words.
    var refusal = ""
    /// What comes into being with each Job.
    var onJob: @Sendable (KubernetesObject) -> [KubernetesObject] = { _ in [] }
    /// What controllers do after each write.
    let controllers: @Sendable (inout ClusterState) -> Void
    /// Whether what a Job owns goes with it; without, only a test or the client takes it away.
    let collectsGarbage: Bool
    /// Whether pods stay when their Job goes, all the same.
    var keepsPods = false
    /// Whether a watch tells of changes until it is cut; without, it ends at once.
    let streamsWatches: Bool

    // MARK: Pods

    /// Whether pods of Deployments come and go; they are Ready after so many lists of pods.
    package var playsDeployments = false
    package var looksUntilReady = 0
    /// What pods answer, by the path.
    var podAnswer: @Sendable (String) -> (Int, String) = { _ in (200, "saved") }
    /// Lines by pod.
    var logs: [String: [String]] = [:]
    /// What pods have said of which nothing else is known; nil where that is an error.
    package var log: String?
    /// Grows when all streams are cut.
    var cuts = 0
    var isStopping = false
    /// Log streams that have been opened.
    var followers = 0
    package internal(set) var requests: [Request] = []
    /// Requests to pods: `POST /api/v1/namespaces/ml/pods/w:8080/proxy/save`.
    var asked: [String] = []
    /// Writes that were done, and requests to pods: `PUT /apis/apps/v1/namespaces/ml/deployments/w`.
    var history: [String] = []

    // MARK: Objects

    /// Where an object is.
    func path(_ object: KubernetesObject) -> String {
        guard let kind = kinds.first(where: { $0.kind == object.kind && $0.group == object.group })
        else {
            return "/unknown/\(object.kind)/\(object.namespace)/\(object.name)"
        }
        let place = kind.isNamespaced ? "/namespaces/\(object.namespace)" : ""
        return "\(kind.prefix)\(place)/\(kind.plural)/\(object.name)"
    }

    /// Puts an object there, over what is there, and answers it as it is then. One that only waited for its last finalizer
    /// to go goes.
    @discardableResult
    package mutating func store(_ object: KubernetesObject) -> KubernetesObject {
        var object = object
        let path = path(object)
        version += 1
        if object.uid.isEmpty { object.uid = objects[path]?.uid ?? "uid-\(version)" }
        object.resourceVersion = "\(version)"
        // Pods that end have no finalizers, and stay until they have ended.
        if object.isBeingDeleted, object.finalizers.isEmpty, objects[path]?.finalizers.isEmpty == false {
            remove(path)
            return object
        }
        let type = objects[path] == nil ? "ADDED" : "MODIFIED"
        objects[path] = object
        changes.append(Change(version: version, type: type, object: object))
        return object
    }

    /// As a deletion does it: an object with finalizers stays, and says so.
    package mutating func delete(_ object: KubernetesObject) {
        guard !object.finalizers.isEmpty else {
            remove(path(object))
            return
        }
        guard !object.isBeingDeleted else { return }
        var object = object
        try? object.set("2026-01-01T00:00:00Z", at: ["metadata", "deletionTimestamp"])
        store(object)
    }

    /// Takes an object away, and what goes with it.
    mutating func remove(_ path: String) {
        guard var object = objects.removeValue(forKey: path) else { return }
        version += 1
        object.resourceVersion = "\(version)"
        changes.append(Change(version: version, type: "DELETED", object: object))
        guard collectsGarbage, object.kind == "Job" else { return }
        for (path, other) in objects {
            let isPod = other.kind == "Pod" && other.labels["job-name"] == object.name
            guard isPod ? !keepsPods : other.ownerReferences.contains(where: { $0.uid == object.uid })
            else {
                continue
            }
            remove(path)
        }
    }
}
