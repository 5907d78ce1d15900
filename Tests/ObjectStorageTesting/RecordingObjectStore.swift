package import Basics
package import ObjectStorage
internal import Synchronization

/// Passes everything on and remembers what was asked, in the order in which the calls began.
package final class RecordingObjectStore: ForwardingObjectStore {
    package let base: any ObjectStore
    private let recorded = Mutex<[StoreRequest]>([])

    /// A recorder in front of `base`, with nothing recorded.
    package init(_ base: any ObjectStore) { self.base = base }

    /// What was asked so far.
    package var requests: [StoreRequest] { recorded.withLock { $0 } }

    /// The keys of the calls of one kind, in order.
    package func keys(_ operation: StoreRequest.Operation) -> [String] {
        requests.filter { $0.operation == operation }.map(\.key)
    }

    /// Forgets what was recorded.
    package func reset() { recorded.withLock { $0 = [] } }

    package func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        record(StoreRequest(operation: .put, key: key, bytes: body.count, condition: options.condition))
        return try await base.put(key, body, options: options)
    }

    package func get(
        _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> ObjectAttributes {
        record(StoreRequest(operation: .get, key: key, range: range))
        return try await base.get(key, range: range, into: buffer, maximumBytes: maximumBytes)
    }

    package func head(_ key: String) async throws(ObjectStorageError) -> ObjectAttributes {
        record(StoreRequest(operation: .head, key: key))
        return try await base.head(key)
    }

    package func list(prefix: String, token: String?) async throws(ObjectStorageError) -> ObjectPage {
        record(StoreRequest(operation: .list, key: prefix))
        return try await base.list(prefix: prefix, token: token)
    }

    package func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError) {
        record(StoreRequest(operation: .delete, key: key, condition: ifTag.map { .ifTag($0) } ?? .none))
        try await base.delete(key, ifTag: ifTag)
    }

    package func extendRetention(_ key: String, _ retention: Retention) async throws(ObjectStorageError) {
        record(StoreRequest(operation: .extendRetention, key: key))
        try await base.extendRetention(key, retention)
    }

    package func serverTime() async throws(ObjectStorageError) -> Timestamp {
        record(StoreRequest(operation: .serverTime, key: ""))
        return try await base.serverTime()
    }

    private func record(_ request: StoreRequest) {
        recorded.withLock { requests in
            var request = request
            request.ordinal = requests.count + 1
            request.mutation = (requests.last?.mutation ?? 0) + (request.operation.isMutation ? 1 : 0)
            requests.append(request)
        }
    }
}
