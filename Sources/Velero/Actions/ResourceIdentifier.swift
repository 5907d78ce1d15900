/// An object of the cluster, as Velero names one to a plugin and a plugin to Velero.
package struct ResourceIdentifier: Hashable, Sendable {
    /// API group; empty for the core group.
    package var group: String
    /// Plural, lower case: `persistentvolumeclaims`.
    package var resource: String
    /// Empty for what has none.
    package var namespace: String
    package var name: String

    package init(group: String, resource: String, namespace: String, name: String) {
        self.group = group
        self.resource = resource
        self.namespace = namespace
        self.name = name
    }

    /// With resource and group in one word: `jobs.batch`, `pods`.
    package init(groupResource: String, namespace: String, name: String) {
        let dot = groupResource.firstIndex(of: ".")
        self.init(
            group: dot.map { String(groupResource[groupResource.index(after: $0)...]) } ?? "",
            resource: dot.map { String(groupResource[..<$0]) } ?? groupResource, namespace: namespace, name: name)
    }

    /// `jobs.batch`, `pods`.
    package var groupResource: String { group.isEmpty ? resource : "\(resource).\(group)" }
}
