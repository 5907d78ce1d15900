package import Basics

/// An object of the Kubernetes API as the JSON tree that it is: what this client does not know stays as it came.
///
/// As in Go, a text that is missing reads as the empty text; setting the empty text removes the member. A member of
/// another type than it should be reads as missing.
package struct KubernetesObject: Sendable, Equatable {
    /// The whole object; always a JSON object.
    package private(set) var json: JSONValue

    /// Why bytes are no object.
    package struct Malformed: Error, Hashable, Sendable, CustomStringConvertible {
        package var message: String
        package var description: String { message }
    }

    /// The object in `json`. Throws when that is anything but a JSON object, or its metadata is.
    package init(_ json: JSONValue) throws(Malformed) {
        guard case .object = json else {
            throw Malformed(message: "a Kubernetes object is a JSON object, not \(json.kindName)")
        }
        if let metadata = json["metadata"], metadata.object == nil, !metadata.isNull {
            throw Malformed(message: "an object's metadata is a JSON object, not \(metadata.kindName)")
        }
        self.json = json
    }

    /// The object that JSON text holds.
    package init(parsing text: [UInt8], limits: JSONValue.Limits = JSONValue.Limits()) throws(Malformed) {
        let json: JSONValue
        do throws(JSONError) {
            json = try JSONValue(parsing: text, limits: limits)
        } catch {
            throw Malformed(message: "not the JSON of an object: \(error)")
        }
        try self.init(json)
    }

    /// A new object with nothing but its kind and name.
    package init(_ kind: GroupVersionKind, namespace: String = "", name: String) {
        json = ["apiVersion": .string(kind.apiVersion), "kind": .string(kind.kind), "metadata": [:]]
        self.namespace = namespace
        self.name = name
    }

    // MARK: Anything

    /// The value at `path`; nil when there is none.
    package subscript(path: JSONPath) -> JSONValue? { json[path] }

    /// The value that the given steps lead to; nil when there is none.
    package subscript(path: JSONPath.Element...) -> JSONValue? { json[JSONPath(path)] }

    /// Puts a value at `path`, making the objects on the way; see `JSONValue.set`.
    package mutating func set(_ value: JSONValue, at path: JSONPath) throws(JSONPathError) {
        guard !path.elements.isEmpty else {
            throw JSONPathError(message: "cannot put \(value.kindName) in the place of a whole object; name a member")
        }
        try json.set(value, at: path)
    }

    /// Takes out what is at `path` and returns it; nil when there is nothing.
    @discardableResult
    package mutating func remove(at path: JSONPath) -> JSONValue? { json.remove(at: path) }

    /// The JSON text; see `JSONValue.serialized`.
    package func serialized() -> [UInt8] { json.serialized() }

    private func text(_ path: JSONPath) -> String { json[path]?.string ?? "" }

    /// Sets or removes a member of the object or its metadata, which are objects.
    private mutating func put(_ value: JSONValue?, _ path: JSONPath) {
        guard let value else {
            json.remove(at: path)
            return
        }
        do throws(JSONPathError) {
            try json.set(value, at: path)
        } catch {
            // Only the maps below metadata can be something else in a malformed object: they are replaced.
            json.remove(at: JSONPath(Array(path.elements.dropLast())))
            put(value, path)
        }
    }

    private mutating func put(_ text: String, _ path: JSONPath) { put(text.isEmpty ? nil : .string(text), path) }

    // MARK: What it is

    /// `v1`, `batch/v1`
    package var apiVersion: String {
        get { text(["apiVersion"]) }
        set { put(newValue, ["apiVersion"]) }
    }
    /// `Pod`
    package var kind: String {
        get { text(["kind"]) }
        set { put(newValue, ["kind"]) }
    }
    /// The group of `apiVersion`; empty for the core group.
    package var group: String { groupVersionKind.group }
    /// Group, version and kind.
    package var groupVersionKind: GroupVersionKind { GroupVersionKind(apiVersion: apiVersion, kind: kind) }

    // MARK: Metadata

    /// Empty for objects outside namespaces.
    package var namespace: String {
        get { text(["metadata", "namespace"]) }
        set { put(newValue, ["metadata", "namespace"]) }
    }
    /// The object's name.
    package var name: String {
        get { text(["metadata", "name"]) }
        set { put(newValue, ["metadata", "name"]) }
    }
    /// The beginning of a name that the server completes.
    package var generateName: String {
        get { text(["metadata", "generateName"]) }
        set { put(newValue, ["metadata", "generateName"]) }
    }
    /// Given by the server, never again to another object.
    package var uid: String {
        get { text(["metadata", "uid"]) }
        set { put(newValue, ["metadata", "uid"]) }
    }
    /// The server's word for this state of the object; only equality means anything.
    package var resourceVersion: String {
        get { text(["metadata", "resourceVersion"]) }
        set { put(newValue, ["metadata", "resourceVersion"]) }
    }
    /// Counts changes of what is wanted; 0 when the kind does not count.
    package var generation: Int64 { json["metadata", "generation"]?.int64 ?? 0 }
    /// When it was created; nil for one that is not stored.
    package var creationTimestamp: Timestamp? { time(["metadata", "creationTimestamp"]) }
    /// When its deletion was, or will be, due; nil unless it is being deleted.
    package var deletionTimestamp: Timestamp? { time(["metadata", "deletionTimestamp"]) }
    /// Whether it is being deleted.
    package var isBeingDeleted: Bool { !text(["metadata", "deletionTimestamp"]).isEmpty }

    /// Those of `metadata.labels` that are text.
    package var labels: [String: String] { map(["metadata", "labels"]) }
    /// Those of `metadata.annotations` that are text.
    package var annotations: [String: String] { map(["metadata", "annotations"]) }

    /// Sets a label, or removes it when `value` is nil.
    package mutating func setLabel(_ key: String, _ value: String?) {
        put(value.map { .string($0) }, ["metadata", "labels", .key(key)])
    }

    /// Sets an annotation, or removes it when `value` is nil.
    package mutating func setAnnotation(_ key: String, _ value: String?) {
        put(value.map { .string($0) }, ["metadata", "annotations", .key(key)])
    }

    /// What must be done before it goes.
    package var finalizers: [String] {
        get { (json["metadata", "finalizers"]?.array ?? []).compactMap(\.string) }
        set { put(newValue.isEmpty ? nil : .array(newValue.map { .string($0) }), ["metadata", "finalizers"]) }
    }

    /// Whose it is.
    package var ownerReferences: [OwnerReference] {
        get { (json["metadata", "ownerReferences"]?.array ?? []).map { OwnerReference($0) } }
        set { put(newValue.isEmpty ? nil : .array(newValue.map(\.json)), ["metadata", "ownerReferences"]) }
    }

    /// The owner that manages it.
    package var controller: OwnerReference? { ownerReferences.first(where: \.isController) }

    private func map(_ path: JSONPath) -> [String: String] {
        var result: [String: String] = [:]
        for member in json[path]?.object?.members ?? [] { result[member.key] = member.value.string }
        return result
    }

    private func time(_ path: JSONPath) -> Timestamp? { CalendarTime.parse(rfc3339: text(path)) }

    // MARK: Words

    /// `Job train/run42`, `Node n1`: for messages.
    package var label: String {
        let name = name.isEmpty ? "\(generateName)…" : name
        return namespace.isEmpty ? "\(kind) \(name)" : "\(kind) \(namespace)/\(name)"
    }
}
