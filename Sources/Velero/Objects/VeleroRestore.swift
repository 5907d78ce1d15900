package import Kubernetes

/// What a plugin reads of a Restore (velero.io/v1). Tolerant, as `VeleroBackup` is.
package struct VeleroRestore: Sendable {
    /// Everything else.
    package let object: KubernetesObject

    package init(_ object: KubernetesObject) { self.object = object }

    /// From the JSON of a call.
    package init(parsing bytes: [UInt8]) throws(VeleroError) {
        self.init(try ActionItem.untyped(bytes, "the restore"))
    }

    /// The restore's name.
    package var name: String { object.name }
    /// Velero's own namespace.
    package var namespace: String { object.namespace }
    /// The restore's uid: the run that operations belong to.
    package var uid: String { object.uid }
    /// The backup that is restored.
    package var backupName: String { object["spec", "backupName"]?.string ?? "" }

    /// Where the restore stands; empty for a new one.
    package var phase: String { object["status", "phase"]?.string ?? "" }
    /// Nothing new may begin.
    package var isFinalizing: Bool { phase == "Finalizing" || phase == "FinalizingPartiallyFailed" }

    /// Old namespace to new.
    package var namespaceMapping: [String: String] {
        var result: [String: String] = [:]
        for member in object["spec", "namespaceMapping"]?.object?.members ?? [] {
            result[member.key] = member.value.string
        }
        return result
    }

    /// The namespace that objects of `namespace` are restored to.
    package func target(of namespace: String) -> String { namespaceMapping[namespace] ?? namespace }

    /// Velero gives an operation this long: four hours unless the restore says otherwise.
    package var itemOperationTimeout: GoDuration {
        object.duration("spec", "itemOperationTimeout") ?? GoDuration(seconds: 4 * 3600)
    }

    /// Whether the restore takes a resource, by its lists of resources. Names in those lists come as people write them:
    /// `jobs`, `jobs.batch`, `*`; Velero also takes singular and short names, which this leaves open: nil.
    package func includes(resource: String, group: String) -> Bool? {
        let names = group.isEmpty ? [resource] : [resource, "\(resource).\(group)"]
        let excluded = object.strings("spec", "excludedResources")
        if excluded.contains(where: { names.contains($0) }) { return false }
        let included = object.strings("spec", "includedResources")
        if included.isEmpty || included.contains("*") || included.contains(where: { names.contains($0) }) {
            return excluded.allSatisfy(Self.isPlural) ? true : nil
        }
        return included.allSatisfy(Self.isPlural) ? false : nil
    }

    /// Whether it is surely no singular or short name: those do not end in `s`, or are very short.
    private static func isPlural(_ name: String) -> Bool {
        let resource = name.prefix { $0 != "." }
        return resource == "jobs" || resource == "pods" || resource.hasSuffix("s") && resource.count > 4
    }
}
