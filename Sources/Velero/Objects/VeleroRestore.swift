package import Kubernetes
internal import Workloads

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

    /// Whether objects that exist are changed to what the backup has.
    package var updatesExisting: Bool { object["spec", "existingResourcePolicy"]?.string == "update" }
}

extension KubernetesObject {
    /// Whether this Backup or Restore surely takes all objects of a kind, by its lists of resources and without a choice by
    /// labels. Names in those lists come as people write them: `jobs`, `jobs.batch`, `*`; Velero also takes singular and
    /// short names, of which this is not sure.
    func takes(_ kind: ResourceKind) -> Bool {
        let isChosen =
            self["spec", "labelSelector", "matchLabels"]?.object?.members.isEmpty == false
            || self["spec", "labelSelector", "matchExpressions"]?.array?.isEmpty == false
            || self["spec", "orLabelSelectors"]?.array?.isEmpty == false
        guard !isChosen else { return false }
        let names: Set = [kind.resource, kind.groupResource]
        let excluded = strings("spec", "excludedResources") + strings("spec", "excludedNamespaceScopedResources")
        guard excluded.allSatisfy({ !names.contains($0) && $0 != "*" && Self.isPlural($0) }) else { return false }
        let included = strings("spec", "includedResources") + strings("spec", "includedNamespaceScopedResources")
        return included.isEmpty || included.contains { $0 == "*" || names.contains($0) }
    }

    /// Whether it is surely no singular or short name: those do not end in `s`, or are very short.
    private static func isPlural(_ name: String) -> Bool {
        let resource = name.prefix { $0 != "." }
        return resource == "jobs" || resource == "pods" || resource.hasSuffix("s") && resource.count > 4
    }
}
