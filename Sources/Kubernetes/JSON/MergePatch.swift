/// JSON merge patches (RFC 7386): an object of what changes, with null for what goes.
package enum MergePatch {
    /// `target` changed by `patch`. A patch that is no object replaces everything.
    package static func apply(_ patch: JSONValue, to target: JSONValue) -> JSONValue {
        guard case .object(let changes) = patch else { return patch }
        var result = target.object ?? JSONObject()
        for member in changes.members {
            if member.value.isNull {
                result[member.key] = nil
            } else {
                result[member.key] = apply(member.value, to: result[member.key] ?? .null)
            }
        }
        return .object(result)
    }

    /// The smallest patch that makes `target` of `source`: an empty object when they are equal. Arrays are replaced
    /// whole. Throws when a member of `target` is null, or an object that is new has such a member: a merge patch
    /// cannot say that, for its null means removal.
    package static func create(from source: JSONValue, to target: JSONValue) throws(JSONPathError) -> JSONValue {
        try create(source, target, JSONPath([]))
    }

    private static func create(
        _ source: JSONValue, _ target: JSONValue, _ path: JSONPath
    ) throws(JSONPathError) -> JSONValue {
        guard case .object(let old) = source, case .object(let new) = target else {
            try requireNoNullMember(target, path)
            return target
        }
        var patch = JSONObject()
        for member in old.members where new[member.key] == nil { patch[member.key] = .null }
        for member in new.members {
            let here = path.appending(.key(member.key))
            guard let before = old[member.key] else {
                try requireNoNullMember(member.value, here)
                patch[member.key] = member.value
                continue
            }
            if before == member.value { continue }
            if member.value.isNull { throw inexpressible(here) }
            // An object in the place of something else is taken member by member, which is the same.
            patch[member.key] = try create(before, member.value, here)
        }
        return .object(patch)
    }

    /// Within arrays null is a value like any other.
    private static func requireNoNullMember(_ value: JSONValue, _ path: JSONPath) throws(JSONPathError) {
        if value.isNull, !path.elements.isEmpty { throw inexpressible(path) }
        guard case .object(let object) = value else { return }
        for member in object.members { try requireNoNullMember(member.value, path.appending(.key(member.key))) }
    }

    private static func inexpressible(_ path: JSONPath) -> JSONPathError {
        JSONPathError(message: "a merge patch cannot set \(path) to null; leave the member out, or replace the object")
    }
}
