/// A store that claims what was found out about it, and makes up for what it lacks as well as can be done from outside:
/// a condition that the store does not honour is looked at just before the request, and not sent.
///
/// Between the look and the request something may happen; that is why the capability is still denied.
package struct ProbedObjectStore: ForwardingObjectStore {
    package let base: any ObjectStore
    package let capabilities: StoreCapabilities

    /// `base` with the capabilities that a probe, now or earlier, has found.
    package init(_ base: any ObjectStore, capabilities: StoreCapabilities) {
        self.base = base
        self.capabilities = capabilities
    }

    package func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        let request = RequestContext(action: "store", key: key, location: location)
        var options = options
        switch options.condition {
        case .ifAbsent where !capabilities.createIfAbsent:
            if try await tag(key) != nil { throw request.error(.preconditionFailed, "the object exists already") }
            options.condition = .none
        case .ifTag(let wanted) where !capabilities.replaceIfTag:
            if try await tag(key) != wanted {
                throw request.error(.preconditionFailed, "the object is not the one that was read before")
            }
            options.condition = .none
        default: break
        }
        if options.retention != nil && !capabilities.retention {
            throw request.error(.unsupported, "the store was found to keep no object under retention")
        }
        return try await base.put(key, body, options: options)
    }

    package func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError) {
        guard let ifTag, !capabilities.conditionalDelete else { return try await base.delete(key, ifTag: ifTag) }
        let request = RequestContext(action: "delete", key: key, location: location)
        guard let present = try await tag(key) else { throw request.notFound() }
        guard present == ifTag else {
            throw request.error(.preconditionFailed, "the object is not the one that was read before")
        }
        try await base.delete(key, ifTag: nil)
    }

    /// The present tag; nil when there is no object.
    private func tag(_ key: String) async throws(ObjectStorageError) -> String? {
        do throws(ObjectStorageError) {
            return try await base.head(key).tag
        } catch {
            if error.code == .notFound { return nil }
            throw error
        }
    }
}
