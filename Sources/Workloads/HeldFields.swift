package import Kubernetes

/// The fields of an object that hold a workload still, with what they were before: an annotation on the object itself,
/// so that anyone can let it go again, by hand if need be.
///
/// The annotation is JSON, `{"fields":[{"path":"/spec/replicas","set":0,"was":3}],"version":1}`; `was` is missing where
/// there was no such field, and `made` then counts the objects around it that were not there either.
package struct HeldFields: Equatable, Sendable {
    /// One field.
    package struct Field: Equatable, Sendable {
        package var path: FieldPath
        /// Nil when there was none.
        package var was: JSONValue?
        /// Objects around the field that were made for it.
        package var made = 0
        package var set: JSONValue

        package init(path: FieldPath, was: JSONValue?, made: Int = 0, set: JSONValue) {
            self.path = path
            self.was = was
            self.made = made
            self.set = set
        }

        /// As annotations and journals have it; nil when it is none.
        init?(_ json: JSONValue) {
            guard let path = json["path"]?.string.flatMap(FieldPath.init(parsing:)), let set = json["set"] else {
                return nil
            }
            let made = json["made"]?.int64 ?? 0
            guard made >= 0, made < path.steps.count else { return nil }
            self.init(path: path, was: json["was"], made: Int(made), set: set)
        }

        var json: JSONValue {
            var object = JSONObject()
            if made > 0 { object["made"] = .integer(made) }
            object["path"] = .string(path.description)
            object["set"] = set
            if let was { object["was"] = was }
            return .object(object)
        }
    }

    package var fields: [Field]

    package init(fields: [Field] = []) { self.fields = fields }

    /// Bytes of the annotation at most; the API takes 256 KiB of annotations in all.
    private static let maximumBytes = 64 << 10
    private static let version: Int64 = 1

    // MARK: The annotation

    /// What an object's annotation says; nil when there is none. Throws when it cannot be read, with what to do.
    package init?(of object: KubernetesObject, annotation: String) throws(WorkloadError) {
        guard let text = object.annotations[annotation] else { return nil }
        let malformed = WorkloadError(
            "\(object.label): the annotation \(annotation) cannot be read; put the fields back by hand and remove it")
        guard let json = try? JSONValue(parsing: text, limits: .init(maximumBytes: Self.maximumBytes)),
            let version = json["version"]?.int64, let elements = json["fields"]?.array
        else { throw malformed }
        guard version == Self.version else {
            throw WorkloadError(
                "\(object.label): the annotation \(annotation) was written by another version of Becalm; use that version"
            )
        }
        fields = elements.compactMap { Field($0) }
        guard fields.count == elements.count else { throw malformed }
    }

    /// The annotation's value.
    package var text: String {
        let json: JSONValue = ["fields": .array(fields.map(\.json)), "version": .integer(Self.version)]
        return String(decoding: json.serialized(escapingHTML: false), as: UTF8.self)
    }

    // MARK: Holding and letting go

    /// Sets fields of `object` and notes in the annotation what they were. Applied again, it changes nothing: what was
    /// noted first stays, unless somebody has changed the field since, who wants it as it is now. `noted` is what else is known
    /// of fields that an annotation says nothing of any more. Throws, and changes nothing, when something is in the way.
    package static func hold(
        _ object: inout KubernetesObject, _ settings: [FieldSetting], annotation: String, noted: [Field] = []
    ) throws(WorkloadError) {
        var held = try HeldFields(of: object, annotation: annotation) ?? HeldFields()
        var changed = object
        for setting in settings {
            guard let path = setting.path.resolve(in: changed) else {
                throw WorkloadError("\(object.label) has nothing at \(setting.path)")
            }
            let was = changed[path].flatMap { $0.isNull ? nil : $0 }
            let made = was == nil ? missing(path, in: changed) : 0
            var field = Field(path: setting.path, was: was, made: made, set: setting.value)
            let index = held.fields.firstIndex { $0.path == setting.path }
            let known = index.map { held.fields[$0] } ?? noted.first { $0.path == setting.path }
            // As we set it.
            if let known, was == known.set { (field.was, field.made) = (known.was, known.made) }
            if let index { held.fields[index] = field } else { held.fields.append(field) }
            do throws(JSONPathError) {
                try changed.set(setting.value, at: path)
            } catch {
                throw WorkloadError("\(object.label) is malformed: \(error)")
            }
        }
        changed.setAnnotation(annotation, held.text)
        object = changed
    }

    /// How many of the objects around `path` are not there.
    private static func missing(_ path: JSONPath, in object: KubernetesObject) -> Int {
        var count = 0
        var around = path.elements.dropLast()
        while !around.isEmpty, object[JSONPath(Array(around))].map(\.isNull) ?? true {
            count += 1
            around = around.dropLast()
        }
        return count
    }

    /// Puts the noted fields back and removes the annotation. A field that is not what was set any more was changed by
    /// somebody else since: it stays as it is, and is returned. `keeping` names fields to leave alone.
    @discardableResult
    package static func release(
        _ object: inout KubernetesObject, annotation: String, keeping: (FieldPath) -> Bool = { _ in false }
    ) throws(WorkloadError) -> [FieldPath] {
        guard let held = try HeldFields(of: object, annotation: annotation) else { return [] }
        var changed = object
        let foreign = try release(&changed, held.fields, keeping: keeping)
        changed.removeAnnotation(annotation)
        object = changed
        return foreign
    }

    /// Puts fields back as `release` does, of an object whose annotation somebody removed. One that is as it was needs nothing.
    static func restore(_ object: inout KubernetesObject, _ fields: [Field]) throws(WorkloadError) -> [FieldPath] {
        var changed = object
        let left = fields.filter { field in
            let now = field.path.resolve(in: object).flatMap { object[$0] }.flatMap { $0.isNull ? nil : $0 }
            return now != field.was
        }
        let foreign = try release(&changed, left)
        object = changed
        return foreign
    }

    private static func release(
        _ changed: inout KubernetesObject, _ fields: [Field], keeping: (FieldPath) -> Bool = { _ in false }
    ) throws(WorkloadError) -> [FieldPath] {
        var foreign: [FieldPath] = []
        for field in fields.reversed() where !keeping(field.path) {
            guard let path = field.path.resolve(in: changed), changed[path] == field.set else {
                foreign.append(field.path)
                continue
            }
            guard let was = field.was else {
                changed.remove(at: path)
                var around = path.elements.dropLast()
                for _ in 0..<field.made where changed[JSONPath(Array(around))]?.object?.isEmpty == true {
                    changed.remove(at: JSONPath(Array(around)))
                    around = around.dropLast()
                }
                continue
            }
            do throws(JSONPathError) {
                try changed.set(was, at: path)
            } catch {
                throw WorkloadError("\(changed.label) is malformed: \(error)")
            }
        }
        return foreign.reversed()
    }
}

extension KubernetesObject {
    /// Removes an annotation, and the map with the last of them, as if none had ever been set.
    mutating func removeAnnotation(_ key: String) {
        setAnnotation(key, nil)
        if self["metadata", "annotations"]?.object?.isEmpty == true { remove(at: ["metadata", "annotations"]) }
    }
}
