/// What kind of object, in which version of which group of the API.
package struct GroupVersionKind: Hashable, Sendable, CustomStringConvertible {
    /// Empty for the core group.
    package var group: String
    /// `v1`, `v1beta1`, …
    package var version: String
    /// `Pod`
    package var kind: String

    package init(group: String = "", version: String, kind: String) {
        self.group = group
        self.version = version
        self.kind = kind
    }

    /// From an object's `apiVersion` (`v1`, `batch/v1`) and `kind`.
    package init(apiVersion: String, kind: String) {
        let slash = apiVersion.firstIndex(of: "/")
        group = slash.map { String(apiVersion[..<$0]) } ?? ""
        version = slash.map { String(apiVersion[apiVersion.index(after: $0)...]) } ?? apiVersion
        self.kind = kind
    }

    /// `v1`, `batch/v1`
    package var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }

    package var description: String { "\(apiVersion) \(kind)" }
}
