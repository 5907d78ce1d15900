internal import HTTPTransport

/// What a list is to hold.
package struct ListOptions: Hashable, Sendable {
    package var labels: LabelSelector
    /// As the API takes it: `metadata.name=x`, `spec.nodeName=n1`; empty for none.
    package var fields: String
    /// Objects that are fetched at a time.
    package var pageSize: Int
    /// Objects in all; more are an error, for they would not fit.
    package var maximumObjects: Int

    package init(
        labels: LabelSelector = LabelSelector(), fields: String = "", pageSize: Int = 500, maximumObjects: Int = 100_000
    ) {
        self.labels = labels
        self.fields = fields
        self.pageSize = pageSize
        self.maximumObjects = maximumObjects
    }
}

/// Objects of one kind as they were at one moment.
package struct ObjectList: Sendable {
    package var items: [KubernetesObject]
    /// Where a watch goes on.
    package var resourceVersion: String
}

/// How something is written.
package struct WriteOptions: Hashable, Sendable {
    /// What the server does with fields that it does not know (1.25 and later; earlier ones drop them in silence).
    package enum FieldValidation: String, Hashable, Sendable {
        case ignore = "Ignore"
        case warn = "Warn"
        case strict = "Strict"
    }

    /// Everything is checked and nothing is stored.
    package var isDryRun: Bool
    /// Nil leaves it to the server.
    package var fieldValidation: FieldValidation?
    /// Who writes, for the record of who owns which field.
    package var fieldManager: String

    package init(isDryRun: Bool = false, fieldValidation: FieldValidation? = nil, fieldManager: String = "becalm") {
        self.isDryRun = isDryRun
        self.fieldValidation = fieldValidation
        self.fieldManager = fieldManager
    }

    func apply(to call: inout APICall) {
        if isDryRun { call.add("dryRun", "All") }
        call.add("fieldValidation", fieldValidation?.rawValue ?? "")
        call.add("fieldManager", fieldManager)
    }
}

/// A change to an object, in one of the API's forms.
package enum ObjectPatch: Sendable {
    /// RFC 7386; every kind takes it.
    case merge(JSONValue)
    /// RFC 6902: an array of operations, all or none of which are done; every kind takes it. It is not repeated when its
    /// answer is lost, for its operations may not come to the same twice.
    case json(JSONValue)
    /// Kubernetes' own; kinds from definitions do not take it.
    case strategic(JSONValue)

    var contentType: String {
        switch self {
        case .merge: "application/merge-patch+json"
        case .json: "application/json-patch+json"
        case .strategic: "application/strategic-merge-patch+json"
        }
    }

    var body: JSONValue {
        switch self {
        case .merge(let body), .json(let body), .strategic(let body): body
        }
    }
}

/// How an object is deleted.
package struct DeleteOptions: Hashable, Sendable {
    /// What becomes of what the object owns.
    package enum Propagation: String, Hashable, Sendable {
        case orphan = "Orphan"
        case background = "Background"
        case foreground = "Foreground"
    }

    /// Nil leaves it to the kind.
    package var propagation: Propagation?
    /// Seconds that what runs has to end; nil leaves it to the object.
    package var gracePeriodSeconds: Int?
    /// Only the object with this uid; empty for any.
    package var uid: String
    /// Only the object as it was with this resourceVersion; empty for any.
    package var resourceVersion: String
    package var isDryRun: Bool

    package init(
        propagation: Propagation? = nil, gracePeriodSeconds: Int? = nil, uid: String = "",
        resourceVersion: String = "", isDryRun: Bool = false
    ) {
        self.propagation = propagation
        self.gracePeriodSeconds = gracePeriodSeconds
        self.uid = uid
        self.resourceVersion = resourceVersion
        self.isDryRun = isDryRun
    }

    var json: JSONValue {
        var object = JSONObject()
        object["apiVersion"] = "v1"
        object["kind"] = "DeleteOptions"
        if isDryRun { object["dryRun"] = ["All"] }
        if let gracePeriodSeconds { object["gracePeriodSeconds"] = .integer(gracePeriodSeconds) }
        var preconditions = JSONObject()
        if !uid.isEmpty { preconditions["uid"] = .string(uid) }
        if !resourceVersion.isEmpty { preconditions["resourceVersion"] = .string(resourceVersion) }
        if !preconditions.isEmpty { object["preconditions"] = .object(preconditions) }
        if let propagation { object["propagationPolicy"] = .string(propagation.rawValue) }
        return .object(object)
    }
}

extension KubernetesClient {
    // MARK: Reading

    /// The object of that name. Throws `.notFound` when there is none.
    package func get(
        _ resource: APIResource, namespace: String = "", name: String, subresource: String = ""
    ) async throws(KubernetesError) -> KubernetesObject {
        var call = APICall("get", .get, resource, namespace: namespace, name: name)
        call.subresource = subresource
        return try await object(call)
    }

    /// The object of that name; nil when there is none.
    package func find(
        _ resource: APIResource, namespace: String = "", name: String
    ) async throws(KubernetesError) -> KubernetesObject? {
        do throws(KubernetesError) {
            return try await get(resource, namespace: namespace, name: name)
        } catch {
            guard error.code == .notFound else { throw error }
            return nil
        }
    }

    /// All objects that are meant, of a namespace or (without one) of all, as they were at one moment. A list that grows
    /// too old while its pages are fetched is begun anew, and fetched whole the third time.
    package func list(
        _ resource: APIResource, namespace: String = "", _ options: ListOptions = ListOptions()
    ) async throws(KubernetesError) -> ObjectList {
        for limit in [options.pageSize, options.pageSize] {
            do throws(KubernetesError) {
                return try await list(resource, namespace, options, limit: limit)
            } catch {
                guard error.code == .expired else { throw error }
            }
        }
        return try await list(resource, namespace, options, limit: 0)
    }

    private func list(
        _ resource: APIResource, _ namespace: String, _ options: ListOptions, limit: Int
    ) async throws(KubernetesError) -> ObjectList {
        var result = ObjectList(items: [], resourceVersion: "")
        var next = ""
        repeat {
            var call = APICall("list", .get, resource, namespace: namespace)
            call.add("labelSelector", options.labels.description)
            call.add("fieldSelector", options.fields)
            if limit > 0 { call.add("limit", "\(limit)") }
            call.add("continue", next)
            let page = try await json(call)
            result.items += try Self.items(page, resource, call)
            guard result.items.count <= options.maximumObjects else {
                throw KubernetesError(
                    .failed, "cannot \(call.label): there are more than \(options.maximumObjects); select fewer")
            }
            result.resourceVersion = page["metadata", "resourceVersion"]?.string ?? ""
            next = page["metadata", "continue"]?.string ?? ""
        } while !next.isEmpty
        return result
    }

    /// The items of a list, which leave out what the list's head says for all of them.
    private static func items(
        _ page: JSONValue, _ resource: APIResource, _ call: APICall
    ) throws(KubernetesError) -> [KubernetesObject] {
        guard let items = page["items"] else {
            throw KubernetesError(.malformed, "cannot \(call.label): the answer is no list")
        }
        var objects: [KubernetesObject] = []
        for item in items.array ?? [] {
            guard var object = try? KubernetesObject(item) else {
                throw KubernetesError(.malformed, "cannot \(call.label): an item is no object")
            }
            if object.apiVersion.isEmpty { object.apiVersion = resource.apiVersion }
            if object.kind.isEmpty { object.kind = resource.kind }
            objects.append(object)
        }
        return objects
    }

    // MARK: Writing

    /// Stores a new object and returns it as stored. It is not repeated when its answer is lost (`isAmbiguous`), but for a
    /// trial.
    package func create(
        _ resource: APIResource, _ object: KubernetesObject, _ options: WriteOptions = WriteOptions()
    ) async throws(KubernetesError) -> KubernetesObject {
        var call = APICall("create", .post, resource, namespace: object.namespace)
        options.apply(to: &call)
        call.body = object.serialized()
        call.isIdempotent = options.isDryRun
        return try await self.object(call)
    }

    /// As `create`, and answers the fields too that the server did not know and has left out (1.25 and later; earlier
    /// servers do not tell): `spec.template.spec.x`, in the server's order.
    package func createTelling(
        _ resource: APIResource, _ object: KubernetesObject
    ) async throws(KubernetesError) -> (object: KubernetesObject, unknownFields: [String]) {
        var call = APICall("create", .post, resource, namespace: object.namespace)
        WriteOptions(fieldValidation: .warn).apply(to: &call)
        call.body = object.serialized()
        call.isIdempotent = false
        let (response, body) = try await perform(call)
        let fields = response.headers.fields.filter { $0.name.lowercased() == "warning" }
            .flatMap { WarningHeader.texts(of: $0.value) }.compactMap(WarningHeader.unknownField)
        do throws(KubernetesObject.Malformed) {
            return (try KubernetesObject(parsing: body), fields)
        } catch {
            throw KubernetesError(.malformed, "cannot \(call.label): the answer is no object: \(error)")
        }
    }

    /// Creates an object under another one: an eviction, a token request.
    package func create(
        _ resource: APIResource, namespace: String = "", name: String, subresource: String, _ body: JSONValue
    ) async throws(KubernetesError) -> JSONValue {
        var call = APICall("create", .post, resource, namespace: namespace, name: name)
        call.subresource = subresource
        call.body = body.serialized()
        call.isIdempotent = false
        call.waitsWhenThrottled = subresource != "eviction"
        return try await json(call)
    }

    /// Replaces an object, which must not have changed since it was read: else `.conflict`.
    package func update(
        _ resource: APIResource, _ object: KubernetesObject, subresource: String = "",
        _ options: WriteOptions = WriteOptions()
    ) async throws(KubernetesError) -> KubernetesObject {
        var call = APICall("update", .put, resource, namespace: object.namespace, name: object.name)
        call.subresource = subresource
        options.apply(to: &call)
        call.body = object.serialized()
        return try await self.object(call)
    }

    /// Changes an object.
    package func patch(
        _ resource: APIResource, namespace: String = "", name: String, subresource: String = "", _ patch: ObjectPatch,
        _ options: WriteOptions = WriteOptions()
    ) async throws(KubernetesError) -> KubernetesObject {
        var call = APICall("patch", .patch, resource, namespace: namespace, name: name)
        call.subresource = subresource
        options.apply(to: &call)
        call.body = patch.body.serialized()
        call.contentType = patch.contentType
        if case .json = patch { call.isIdempotent = false }
        return try await object(call)
    }

    /// Server-side apply: makes the object have what is given, and nothing that this field manager gave before and does
    /// not give now. Fields of other managers are a `.conflict` unless `force` takes them over.
    package func apply(
        _ resource: APIResource, _ object: KubernetesObject, subresource: String = "", force: Bool = false,
        _ options: WriteOptions = WriteOptions()
    ) async throws(KubernetesError) -> KubernetesObject {
        var call = APICall("patch", .patch, resource, namespace: object.namespace, name: object.name)
        call.subresource = subresource
        options.apply(to: &call)
        if force { call.add("force", "true") }
        var object = object
        // The server refuses an object that says who manages its fields.
        object.remove(at: ["metadata", "managedFields"])
        call.body = object.serialized()
        // JSON is YAML.
        call.contentType = "application/apply-patch+yaml"
        return try await self.object(call)
    }

    /// Deletes an object. Answers whether there was one; it may stay for a while, with a `deletionTimestamp`. Throws
    /// `.conflict` when a precondition does not hold.
    @discardableResult
    package func delete(
        _ resource: APIResource, namespace: String = "", name: String, _ options: DeleteOptions = DeleteOptions()
    ) async throws(KubernetesError) -> Bool {
        var call = APICall("delete", .delete, resource, namespace: namespace, name: name)
        call.body = options.json.serialized()
        do throws(KubernetesError) {
            _ = try await perform(call)
            return true
        } catch {
            guard error.code == .notFound else { throw error }
            // The first attempt may have done it.
            return error.isAmbiguous
        }
    }

    /// Reads an object, lets `change` work on it and stores it, from the start again when somebody else was faster, so
    /// often at most. Answers the object as stored, or as read when nothing was changed. What `change` throws ends it.
    /// When the answer to a write was lost, `change` sees an object that it has changed already: it must say what is to
    /// be, not what is to be added.
    package func updating<E: Error>(
        _ resource: APIResource, namespace: String = "", name: String, subresource: String = "", attempts: Int = 10,
        _ options: WriteOptions = WriteOptions(), _ change: (inout KubernetesObject) throws(E) -> Void
    ) async throws -> KubernetesObject {
        var attempt = 0
        while true {
            attempt += 1
            let before = try await get(resource, namespace: namespace, name: name)
            var after = before
            try change(&after)
            if after == before { return before }
            do throws(KubernetesError) {
                return try await update(resource, after, subresource: subresource, options)
            } catch {
                guard error.code == .conflict, attempt < attempts else { throw error }
                // Whoever was faster writes again soon: do not meet again.
                let delay = patience.delay(afterAttempt: min(attempt, 4), chance: .random(in: 0...1), retryAfter: nil)
                try await Task.sleep(for: .seconds(delay))
            }
        }
    }
}
