internal import HTTPTransport

/// Whether the client may do something.
package struct AccessReview: Hashable, Sendable {
    package var isAllowed: Bool
    /// Why, if the server says; one line.
    package var reason: String
}

extension KubernetesClient {
    /// Asks whether the client may do `verb` (of the API) with a resource; an empty namespace asks for all namespaces, an
    /// empty name for any object (SelfSubjectAccessReview).
    package func reviewAccess(
        _ verb: String, _ resource: APIResource, subresource: String = "", namespace: String = "", name: String = ""
    ) async throws(KubernetesError) -> AccessReview {
        var attributes = JSONObject()
        attributes["verb"] = .string(verb)
        attributes["group"] = .string(resource.group)
        attributes["resource"] = .string(resource.plural)
        if !subresource.isEmpty { attributes["subresource"] = .string(subresource) }
        if !namespace.isEmpty { attributes["namespace"] = .string(namespace) }
        if !name.isEmpty { attributes["name"] = .string(name) }
        let reviews = APIResource(
            group: "authorization.k8s.io", version: "v1", kind: "SelfSubjectAccessReview",
            plural: "selfsubjectaccessreviews", isNamespaced: false)
        var call = APICall("create", .post, reviews)
        call.body =
            JSONValue.object(
                JSONObject([
                    (key: "apiVersion", value: "authorization.k8s.io/v1"),
                    (key: "kind", value: "SelfSubjectAccessReview"),
                    (key: "spec", value: ["resourceAttributes": .object(attributes)]),
                ]) ?? JSONObject()
            ).serialized()
        let answer = try await json(call)
        guard let isAllowed = answer["status", "allowed"]?.bool else {
            throw KubernetesError(.malformed, "cannot \(call.label): the answer does not say whether it is allowed")
        }
        return AccessReview(isAllowed: isAllowed, reason: StatusMapping.line(answer["status", "reason"]?.string ?? ""))
    }
}
