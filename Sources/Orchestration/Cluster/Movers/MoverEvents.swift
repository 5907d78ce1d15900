internal import Kubernetes

/// What the cluster's events say of a mover that has not begun. Some obstacles show nowhere else: a volume that cannot be
/// attached, and a pod that a quota, an admission webhook or the namespace's pod security does not let the Job make.
struct MoverEvents: Sendable {
    let client: KubernetesClient
    let namespace: String

    /// The last warning about the last of `pods` that has not begun, on one line; about the Job with the uid `job`, where
    /// there is no pod. Empty where there is no warning, and for who may not read events: they are for people.
    func obstacle(job: String, pods: [KubernetesObject]) async -> String {
        let living = pods.filter { !["Succeeded", "Failed"].contains($0["status", "phase"]?.string ?? "") }
        guard let uid = living.isEmpty ? job : living.last(where: { $0["status", "phase"] == "Pending" })?.uid,
            !uid.isEmpty
        else { return "" }
        let options = ListOptions(fields: "involvedObject.uid=\(uid),type=Warning", maximumObjects: 1000)
        guard let events = try? await client.list(.events, namespace: namespace, options).items,
            let last = events.max(by: { Self.time($0) < Self.time($1) })
        else { return "" }
        let words = [last["reason"], last["message"]].compactMap { $0?.string }.joined(separator: ": ")
        return String(words.prefix(1000)).split(whereSeparator: \.isNewline).joined(separator: " ")
    }

    /// When an event was seen last, as its reporter writes it: RFC 3339 in UTC, which sorts as text.
    private static func time(_ event: KubernetesObject) -> String {
        [event["series", "lastObservedTime"], event["lastTimestamp"], event["eventTime"]].lazy
            .compactMap { $0?.string }.first ?? event["metadata", "creationTimestamp"]?.string ?? ""
    }
}
