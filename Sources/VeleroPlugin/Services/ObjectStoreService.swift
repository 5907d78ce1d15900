internal import FoundationEssentials
internal import GRPCCore
internal import Synchronization
internal import Velero
internal import VeleroProtocol

/// Velero's ObjectStore. `Init` comes once for each host-side wrapper, and again after the host has relaunched a process.
final class ObjectStoreService: Generated_ObjectStore.SimpleServiceProtocol {
    private let registry: PluginRegistry
    private let stores = Mutex<[String: any ObjectStorePlugin]>([:])

    /// Longest piece that goes out at once: a host takes any, but its window begins at 64 KiB.
    private static let pieceBytes = 256 << 10

    init(_ registry: PluginRegistry) { self.registry = registry }

    private func store(_ plugin: String) throws(VeleroError) -> any ObjectStorePlugin {
        guard let store = stores.withLock({ $0[plugin] }) else {
            try Self.check(plugin)
            throw VeleroError(.invalidArgument, "no location was given: Velero calls Init before anything else")
        }
        return store
    }

    private static func check(_ plugin: String) throws(VeleroError) {
        guard plugin == PluginName.s3.rawValue else {
            throw VeleroError(
                .notFound, "there is no object store '\(plugin)' here: use \(PluginName.s3.rawValue)")
        }
    }

    func `init`(request: Generated_ObjectStoreInitRequest, context: ServerContext) async throws -> Generated_Empty {
        try await RPCFailure.mapping(plugin: request.plugin) {
            try Self.check(request.plugin)
            let store = try await registry.openObjectStore(request.config)
            // What is under way keeps the store that it began with.
            stores.withLock { $0[request.plugin] = store }
            return Generated_Empty()
        }
    }

    /// Reads the stream to its end whatever happens: a host that is still sending sees only EOF instead of the error.
    func putObject(
        request: RPCAsyncSequence<Generated_PutObjectRequest, any Error>, context: ServerContext
    ) async throws -> Generated_Empty {
        var upload: (any ObjectUpload)?
        var plugin = PluginName.s3.rawValue
        var failure: (any Error)?
        do {
            for try await message in request where failure == nil {
                do {
                    if upload == nil {
                        plugin = message.plugin
                        upload = try await store(plugin).beginUpload(bucket: message.bucket, key: message.key)
                    }
                    try await upload?.write(message.body.bytes)
                } catch {
                    failure = error
                }
            }
            // A stream that is cut ends like one that is whole.
            if context.cancellation.isCancelled || Task.isCancelled { throw CancellationError() }
        } catch {
            failure = failure ?? error
        }
        guard let upload else {
            throw RPCFailure.status(
                failure
                    ?? VeleroError(
                        .invalidArgument,
                        "an object without a single message was sent, so neither bucket nor key is known: nothing was stored"
                    ),
                plugin: plugin)
        }
        if let failure {
            await upload.abandon()
            throw RPCFailure.status(failure, plugin: plugin)
        }
        return try await RPCFailure.mapping(plugin: plugin) {
            try await upload.finish()
            return Generated_Empty()
        }
    }

    func objectExists(
        request: Generated_ObjectExistsRequest, context: ServerContext
    ) async throws -> Generated_ObjectExistsResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            var response = Generated_ObjectExistsResponse()
            response.exists = try await store(request.plugin).exists(bucket: request.bucket, key: request.key)
            return response
        }
    }

    func getObject(
        request: Generated_GetObjectRequest, response: RPCWriter<Generated_Bytes>, context: ServerContext
    ) async throws {
        try await RPCFailure.mapping(plugin: request.plugin) {
            let download = try await store(request.plugin).beginDownload(bucket: request.bucket, key: request.key)
            do {
                while let piece = try await download.next() {
                    var start = 0
                    while start < piece.count {
                        let end = min(piece.count, start + Self.pieceBytes)
                        var message = Generated_Bytes()
                        message.data = Data(piece[start..<end])
                        try await response.write(message)
                        start = end
                    }
                }
            } catch {
                await download.close()
                throw error
            }
            await download.close()
        }
    }

    func listCommonPrefixes(
        request: Generated_ListCommonPrefixesRequest, context: ServerContext
    ) async throws -> Generated_ListCommonPrefixesResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            var response = Generated_ListCommonPrefixesResponse()
            response.prefixes = try await store(request.plugin).commonPrefixes(
                bucket: request.bucket, delimiter: request.delimiter, prefix: request.prefix)
            return response
        }
    }

    func listObjects(
        request: Generated_ListObjectsRequest, context: ServerContext
    ) async throws -> Generated_ListObjectsResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            var response = Generated_ListObjectsResponse()
            response.keys = try await store(request.plugin).keys(bucket: request.bucket, prefix: request.prefix)
            return response
        }
    }

    func deleteObject(request: Generated_DeleteObjectRequest, context: ServerContext) async throws -> Generated_Empty {
        try await RPCFailure.mapping(plugin: request.plugin) {
            try await store(request.plugin).delete(bucket: request.bucket, key: request.key)
            return Generated_Empty()
        }
    }

    func createSignedURL(
        request: Generated_CreateSignedURLRequest, context: ServerContext
    ) async throws -> Generated_CreateSignedURLResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            // Nanoseconds; part of a second is a second, and nothing is valid for none.
            let seconds = request.ttl / 1_000_000_000 + (request.ttl % 1_000_000_000 > 0 ? 1 : 0)
            guard seconds > 0 else {
                throw VeleroError(
                    .invalidArgument,
                    "a URL for '\(request.key)' that is valid for \(request.ttl) ns would be of no use")
            }
            var response = Generated_CreateSignedURLResponse()
            response.url = try await store(request.plugin).signedURL(
                bucket: request.bucket, key: request.key, seconds: Int(seconds))
            return response
        }
    }
}
