package import Kubernetes

/// An object that is changed to stop a workload: the workload itself, its Kueue Workload, a StatefulSet of its own, …
package struct StopTarget: Equatable, Sendable {
    /// What is done to it.
    package enum Method: String, Sendable {
        /// Its fields are set, and noted in its annotation (`HeldFields`).
        case fields
        /// An object that names it is created: Volcano's Commands.
        case command
        /// A route's weights of backends are set to 0, and noted in its annotation (`RouteDrain`).
        case drain
    }

    package var kind: GroupVersionKind
    package var namespace: String
    package var name: String
    /// The object that is meant; another one of that name is left alone.
    package var uid: String
    package var method: Method
    /// Of a route: the pools that it sends nothing more to.
    package var pools: [PoolReference] = []
    /// Of a route: how many pods of the workload served when it was drained, so many are awaited before it is opened.
    package var servingPods: Int64 = 0

    /// What held it when somebody looked last, or is about to: a second copy of its annotation, for the case that somebody
    /// removes that. Nil where nobody has looked, and once its fields are back; empty for what is stopped by a Command.
    package var held: [HeldFields.Field]?
    /// Whether it is not the workload itself but something of it, which may come and go while that stays.
    package var isPart = false

    package init(_ object: KubernetesObject, _ method: Method) {
        kind = object.groupVersionKind
        namespace = object.namespace
        name = object.name
        uid = object.uid
        self.method = method
    }

    /// `Job train/run42`: for messages.
    package var label: String { "\(kind.kind) \(namespace)/\(name)" }

    // MARK: The journal's words

    init?(_ json: JSONValue) {
        guard let apiVersion = json["apiVersion"]?.string, let kind = json["kind"]?.string,
            let namespace = json["namespace"]?.string, let name = json["name"]?.string, let uid = json["uid"]?.string,
            let method = json["method"]?.string.flatMap(Method.init(rawValue:))
        else { return nil }
        self.kind = GroupVersionKind(apiVersion: apiVersion, kind: kind)
        self.namespace = namespace
        self.name = name
        self.uid = uid
        self.method = method
        let list = json["pools"]?.array ?? []
        pools = list.compactMap { PoolReference($0) }
        servingPods = json["servingPods"]?.int64 ?? 0
        isPart = json["part"]?.bool ?? false
        let fields = json["held"]?.array
        held = fields?.compactMap { HeldFields.Field($0) }
        guard pools.count == list.count, servingPods >= 0, held?.count == fields?.count else { return nil }
    }

    var json: JSONValue {
        var json: JSONValue = [
            "apiVersion": .string(kind.apiVersion), "kind": .string(kind.kind), "method": .string(method.rawValue),
            "name": .string(name), "namespace": .string(namespace), "uid": .string(uid),
        ]
        guard var members = json.object else { return json }
        if method == .drain {
            members["pools"] = .array(pools.map(\.json))
            members["servingPods"] = .integer(servingPods)
        }
        // Older versions pass over these, and go by the annotations of the objects alone.
        if let held { members["held"] = .array(held.map(\.json)) }
        if isPart { members["part"] = true }
        json = .object(members)
        return json
    }
}
