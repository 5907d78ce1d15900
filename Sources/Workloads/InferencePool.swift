package import Kubernetes

/// Which pool a route names.
package struct PoolReference: Hashable, Sendable, CustomStringConvertible {
    package var group: String
    package var namespace: String
    package var name: String

    package init(group: String, namespace: String, name: String) {
        self.group = group
        self.namespace = namespace
        self.name = name
    }

    /// The pool that a backend of a route in `namespace` is; nil for a backend of another kind.
    package init?(backend: JSONValue, namespace: String) {
        guard backend["kind"]?.string == ResourceKind.inferencePool.kind, let group = backend["group"]?.string,
            InferencePool.kinds.contains(where: { $0.group == group }), let name = backend["name"]?.string
        else { return nil }
        let named = backend["namespace"]?.string ?? ""
        self.init(group: group, namespace: named.isEmpty ? namespace : named, name: name)
    }

    package var description: String { "InferencePool \(namespace)/\(name)" }

    // MARK: The journal's words

    init?(_ json: JSONValue) {
        guard let group = json["group"]?.string, let namespace = json["namespace"]?.string,
            let name = json["name"]?.string
        else { return nil }
        self.init(group: group, namespace: namespace, name: name)
    }

    var json: JSONValue {
        ["group": .string(group), "name": .string(name), "namespace": .string(namespace)]
    }
}

/// Pods that answer for a model together. A gateway asks the pool's endpoint picker which of them gets a request: one that
/// is Ready. `inference.networking.k8s.io/v1` and, with other fields, `inference.networking.x-k8s.io/v1alpha2` (Gateway
/// API Inference Extension 1.6).
package struct InferencePool: Sendable {
    /// Both groups; a cluster may serve either, or both while it moves from one to the other.
    static let kinds: [ResourceKind] = [.inferencePool, .experimentalInferencePool]

    package let object: KubernetesObject

    package init(_ object: KubernetesObject) { self.object = object }

    /// How routes name it.
    package var reference: PoolReference {
        PoolReference(group: object.group, namespace: object.namespace, name: object.name)
    }

    /// Whether it has a pod of its namespace with such labels.
    package func selects(_ labels: [String: String]) -> Bool {
        let selector = object["spec", "selector"]
        // The older version has no `matchLabels` around them.
        let isFlat = object.group == ResourceKind.experimentalInferencePool.group
        let wanted = (isFlat ? selector : selector?["matchLabels"])?.object?.members ?? []
        return !wanted.isEmpty && wanted.allSatisfy { labels[$0.key] == $0.value.string }
    }

    /// Where its pods answer, each an endpoint of its own.
    var ports: [Int] {
        let listed = (object["spec", "targetPorts"]?.array ?? []).compactMap { $0["number"]?.int64 }
        let all = listed.isEmpty ? [object["spec", "targetPortNumber"]?.int64].compactMap { $0 } : listed
        return all.filter { (1...65535).contains($0) }.map(Int.init)
    }

    /// The Service of its endpoint picker.
    package var endpointPicker: String? {
        object.text("spec", "endpointPickerRef", "name") ?? object.text("spec", "extensionRef", "name")
    }
}
