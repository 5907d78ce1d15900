package import Kubernetes

/// A pod as a workload describes it, or a pod itself: a place in an object that has `spec.containers` below it.
package struct PodTemplate: Equatable, Sendable {
    /// Where it is in the object.
    package var path: JSONPath
    /// The template: an object with `metadata` and `spec`.
    package var json: JSONValue

    package init(path: JSONPath, json: JSONValue) {
        self.path = path
        self.json = json
    }

    /// What the kubelet grants a container to end after SIGTERM: 30 seconds unless the template says otherwise.
    package var gracePeriodSeconds: Int64 { json["spec", "terminationGracePeriodSeconds"]?.int64 ?? 30 }

    private var volumes: [JSONValue] { json["spec", "volumes"]?.array ?? [] }

    /// The claims that its volumes name.
    package var claimNames: [String] {
        volumes.compactMap { $0["persistentVolumeClaim", "claimName"]?.string }.filter { !$0.isEmpty }
    }

    /// The volumes for which each pod gets a claim of its own, called `POD-VOLUME`.
    package var ephemeralVolumes: [String] {
        volumes.filter { $0["ephemeral"]?.object != nil }.compactMap { $0["name"]?.string }
    }

    /// What its pods need beside claims, each once, in the order of the template.
    package func references(namespace: String) -> [ObjectReference] {
        var found = ReferenceList(namespace: namespace)
        let spec = json["spec"] ?? .null
        found.add(.serviceAccount, spec["serviceAccountName"] ?? spec["serviceAccount"], .account)
        for secret in spec["imagePullSecrets"]?.array ?? [] {
            // Pods start without one that is missing, if the image can be had.
            found.add(.secret, secret["name"], .secret, isOptional: true)
        }
        for volume in volumes { Self.addVolume(volume, &found) }
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for container in spec[.key(list)]?.array ?? [] { Self.addContainer(container, &found) }
        }
        for claim in spec["resourceClaims"]?.array ?? [] {
            found.add(.resourceClaim, claim["resourceClaimName"], .device)
            found.add(.resourceClaimTemplate, claim["resourceClaimTemplateName"], .device)
        }
        return found.references
    }

    private static func addVolume(_ volume: JSONValue, _ found: inout ReferenceList) {
        found.add(.configMap, volume["configMap", "name"], .configuration, of: volume["configMap"])
        found.add(.secret, volume["secret", "secretName"], .secret, of: volume["secret"])
        found.add(.secret, volume["csi", "nodePublishSecretRef", "name"], .secret)
        for source in volume["projected", "sources"]?.array ?? [] {
            found.add(.configMap, source["configMap", "name"], .configuration, of: source["configMap"])
            found.add(.secret, source["secret", "name"], .secret, of: source["secret"])
        }
    }

    private static func addContainer(_ container: JSONValue, _ found: inout ReferenceList) {
        for source in container["envFrom"]?.array ?? [] {
            found.add(.configMap, source["configMapRef", "name"], .configuration, of: source["configMapRef"])
            found.add(.secret, source["secretRef", "name"], .secret, of: source["secretRef"])
        }
        for variable in container["env"]?.array ?? [] {
            let map = variable["valueFrom", "configMapKeyRef"]
            found.add(.configMap, map?["name"], .configuration, of: map)
            let secret = variable["valueFrom", "secretKeyRef"]
            found.add(.secret, secret?["name"], .secret, of: secret)
        }
    }
}

/// Gathers references, each object once; one that is needed somewhere is not optional.
private struct ReferenceList {
    let namespace: String
    private(set) var references: [ObjectReference] = []

    init(namespace: String) { self.namespace = namespace }

    mutating func add(
        _ kind: ResourceKind, _ name: JSONValue?, _ role: ObjectReference.Role, isOptional: Bool = false,
        of source: JSONValue? = nil
    ) {
        guard let name = name?.string, !name.isEmpty else { return }
        // Every namespace has its own.
        if kind == .serviceAccount, name == "default" { return }
        // Each cluster makes its own in every namespace.
        if kind == .configMap, name == "kube-root-ca.crt" { return }
        let isOptional = isOptional || source?["optional"]?.bool == true
        let reference = ObjectReference(kind, namespace: namespace, name: name, role: role, isOptional: isOptional)
        if let index = references.firstIndex(where: { $0.kind == kind && $0.name == name }) {
            references[index].isOptional = references[index].isOptional && isOptional
        } else {
            references.append(reference)
        }
    }
}
