/// Which items an action is called for; an empty one means all.
package struct ResourceSelector: Hashable, Sendable {
    package var includedNamespaces: [String] = []
    package var excludedNamespaces: [String] = []
    /// Plural, or `resource.group`.
    package var includedResources: [String] = []
    package var excludedResources: [String] = []
    /// A label selector as kubectl takes it; empty for none.
    package var labelSelector = ""

    /// Everything.
    package init() {}

    /// Some resources of every namespace.
    package init(resources: [String]) { includedResources = resources }
}
