/// A kind of object as the API serves it.
package struct APIResource: Hashable, Sendable, CustomStringConvertible {
    /// Empty for the core group.
    package var group: String
    package var version: String
    package var kind: String
    /// As in addresses: `pods`.
    package var plural: String
    /// `pod`; empty when the server does not say.
    package var singular: String
    package var isNamespaced: Bool
    /// What the server can do with it; empty when nobody asked.
    package var verbs: Set<String>
    package var shortNames: [String]
    /// `status`, `scale`, …
    package var subresources: Set<String>

    package init(
        group: String = "", version: String, kind: String, plural: String, singular: String = "",
        isNamespaced: Bool = true, verbs: Set<String> = [], shortNames: [String] = [], subresources: Set<String> = []
    ) {
        self.group = group
        self.version = version
        self.kind = kind
        self.plural = plural
        self.singular = singular
        self.isNamespaced = isNamespaced
        self.verbs = verbs
        self.shortNames = shortNames
        self.subresources = subresources
    }

    /// Group, version and kind.
    package var groupVersionKind: GroupVersionKind { GroupVersionKind(group: group, version: version, kind: kind) }
    /// `v1`, `batch/v1`
    package var apiVersion: String { groupVersionKind.apiVersion }

    /// `pods`, `jobs.batch`: as kubectl names it.
    package var description: String { group.isEmpty ? plural : "\(plural).\(group)" }

    private static func core(_ kind: String, _ plural: String, isNamespaced: Bool = true) -> APIResource {
        APIResource(version: "v1", kind: kind, plural: plural, isNamespaced: isNamespaced)
    }

    /// What every server from 1.20 on serves.
    package static let pods = core("Pod", "pods")
    package static let nodes = core("Node", "nodes", isNamespaced: false)
    package static let namespaces = core("Namespace", "namespaces", isNamespaced: false)
    package static let secrets = core("Secret", "secrets")
    package static let configMaps = core("ConfigMap", "configmaps")
    package static let events = core("Event", "events")
    package static let serviceAccounts = core("ServiceAccount", "serviceaccounts")
    package static let persistentVolumeClaims = core("PersistentVolumeClaim", "persistentvolumeclaims")
    package static let persistentVolumes = core("PersistentVolume", "persistentvolumes", isNamespaced: false)

    /// Of the group `batch`, on every server from 1.20 on.
    package static let jobs = APIResource(group: "batch", version: "v1", kind: "Job", plural: "jobs")
    /// What `KubernetesLease` works on.
    package static let leases = APIResource(
        group: "coordination.k8s.io", version: "v1", kind: "Lease", plural: "leases")
    /// The definitions of kinds that are not built in.
    package static let customResourceDefinitions = APIResource(
        group: "apiextensions.k8s.io", version: "v1", kind: "CustomResourceDefinition",
        plural: "customresourcedefinitions", isNamespaced: false)
}
