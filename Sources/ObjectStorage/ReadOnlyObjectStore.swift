/// Reads only: whatever would change the store is refused with `.accessDenied` before it is asked.
package struct ReadOnlyObjectStore: ForwardingObjectStore {
    package let base: any ObjectStore

    /// A view of `base`.
    package init(_ base: any ObjectStore) { self.base = base }

    package func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        throw refusal("store", key)
    }

    package func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError) {
        throw refusal("delete", key)
    }

    package func extendRetention(_ key: String, _ retention: Retention) async throws(ObjectStorageError) {
        throw refusal("extend the retention of", key)
    }

    private func refusal(_ action: String, _ key: String) -> ObjectStorageError {
        RequestContext(action: action, key: key, location: location)
            .error(.accessDenied, "the store was opened for reading only")
    }
}
