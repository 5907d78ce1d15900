package import Basics
package import HTTPTransport
package import Logging
package import ObjectStorage
internal import Synchronization

/// A bucket with a prefix on Amazon S3 or a server that speaks its language.
///
/// Nothing is retried here but what the server's answer puts right (region, clock, ended credentials), once each.
/// Bodies are sent from and received into the callers' buffers; libcurl's own buffers are the only copies.
package final class S3ObjectStore: ObjectStore {
    let client: S3Client
    private let claimed: StoreCapabilities
    /// Whether the bucket has Object Lock, once asked.
    let lockSupport = Mutex<Bool?>(nil)
    /// Whether this server takes only MD5 where Object Lock demands a checksum; learnt from its refusal.
    let lockNeedsMD5 = Mutex(false)
    /// Whether this server takes tags only without their quotes; learnt from its refusal.
    let comparesBareTags = Mutex(false)

    package var location: String { client.configuration.location.description }

    /// What a server that does all that Amazon's does is trusted with.
    package static let amazonCapabilities = StoreCapabilities(
        createIfAbsent: true, replaceIfTag: true, conditionalDelete: true, listIsOrdered: true, retention: true)

    /// A store over a transport. It claims `capabilities`, by default Amazon's; `CapabilityProbe` finds out what is true,
    /// and `ProbedObjectStore` makes up for what is not.
    package init(
        _ configuration: S3Configuration, transport: any HTTPTransport, credentials: any CredentialProvider,
        capabilities: StoreCapabilities = S3ObjectStore.amazonCapabilities, clock: any WallClock = SystemWallClock(),
        logger: Logger = Logger(label: "s3")
    ) {
        client = S3Client(
            configuration, transport: transport, credentials: credentials, clock: clock, logger: logger)
        claimed = capabilities
    }

    /// A store for a location, everything else from flags, environment and profile, with a transport of its own.
    ///
    /// Sends nothing yet (credentials are fetched by the first request). Throws what `S3Configuration.resolve` and
    /// `CredentialChain.provider` throw.
    package static func open(
        _ location: S3Location, flags: S3Configuration.Flags = S3Configuration.Flags(), environment: [String: String],
        logger: Logger = Logger(label: "s3")
    ) async throws(ObjectStorageError) -> S3ObjectStore {
        let configuration = try await S3Configuration.resolve(location, flags: flags, environment: environment)
        let transport: CurlTransport
        do throws(HTTPTransportError) {
            transport = try CurlTransport(configuration.transport)
        } catch {
            throw TransportErrorMapping.error(error, "cannot open \(location)", endpoint: configuration.endpoint)
        }
        let credentials = try await CredentialChain.provider(
            flags: flags, environment: environment, transport: transport, logger: logger)
        return S3ObjectStore(configuration, transport: transport, credentials: credentials, logger: logger)
    }

    package var capabilities: StoreCapabilities {
        var capabilities = claimed
        if let hasLock = lockSupport.withLock({ $0 }) { capabilities.retention = capabilities.retention && hasLock }
        return capabilities
    }

    /// Where the credentials come from, for `doctor`.
    package var credentialSource: CredentialSource { client.credentials.source }

    /// The region in force; the bucket's own once the server has named it.
    package var region: String { client.region }

    /// The endpoint in force.
    package var endpoint: String { client.address(nil).endpoint.description }

    // MARK: Reading

    package func get(
        _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> ObjectAttributes {
        var call = try objectCall("read", .get, key)
        if let range {
            guard !range.isEmpty else {
                throw ObjectStorageError(
                    .invalidArgument, "\(call.failing(client.configuration.location)): the range \(range) is empty")
            }
            // Servers read offsets as signed numbers of 64 bits.
            guard range.lowerBound < UInt64(Int64.max) else {
                throw ObjectStorageError(
                    .invalidArgument,
                    "\(call.failing(client.configuration.location)): no object has \(range.lowerBound) bytes")
            }
            call.range = range.clamped(to: 0..<UInt64(Int64.max))
        }
        let response = try await client.perform(call, into: buffer, maximumBytes: maximumBytes)
        let size = try await wholeSize(call, response, buffer)
        return attributes(key, response, size: size)
    }

    /// The whole object's size, after a check that what came is what was asked for.
    private func wholeSize(
        _ call: S3Call, _ response: HTTPResponse, _ buffer: Buffer
    ) async throws(ObjectStorageError) -> UInt64 {
        let received = UInt64(buffer.count)
        guard let range = call.range else {
            if let announced = response.headers["Content-Length"].flatMap({ UInt64($0) }), announced != received {
                throw mismatch(call, "\(received) bytes came of \(announced)")
            }
            return received
        }
        if let text = response.headers["Content-Range"] {
            guard let sent = ContentRange.parse(text), let total = sent.total else {
                throw mismatch(call, "the server sends the range \(ServerText.line(text))")
            }
            let expected = range.lowerBound..<min(range.upperBound, total)
            guard sent.range == expected, received == UInt64(expected.count) else {
                throw mismatch(call, "\(received) bytes of the range \(sent.range) came for \(expected)")
            }
            return total
        }
        // The server ignored the header or answers without telling; the object's size tells which bytes these are.
        var attributes = call
        attributes.range = nil
        let total = try await headSize(attributes)
        guard range.lowerBound < total else {
            throw ObjectStorageError(
                .invalidArgument,
                "\(call.failing(client.configuration.location)): it has \(total) bytes, fewer than \(range) needs")
        }
        let expected = min(range.upperBound, total) - range.lowerBound
        if received == expected { return total }
        if received == total, range.lowerBound > 0, !response.isCut {
            cut(buffer, range.lowerBound, expected)
            return total
        }
        throw mismatch(call, "\(received) bytes came for \(expected)")
    }

    /// Keeps `count` bytes from `start` on.
    private func cut(_ buffer: Buffer, _ start: UInt64, _ count: UInt64) {
        let bytes = buffer.storage
        bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer.bytes[Int(start)..<Int(start + count)]))
        buffer.count = Int(count)
    }

    private func headSize(_ call: S3Call) async throws(ObjectStorageError) -> UInt64 {
        var call = call
        call.method = .head
        return try size(call, try await headResponse(call))
    }

    private func size(_ call: S3Call, _ response: HTTPResponse) throws(ObjectStorageError) -> UInt64 {
        guard let size = response.headers["Content-Length"].flatMap({ UInt64($0) }) else {
            throw mismatch(call, "the server does not tell the object's size")
        }
        return size
    }

    private func mismatch(_ call: S3Call, _ what: String) -> ObjectStorageError {
        ObjectStorageError(.corrupted, "\(call.failing(client.configuration.location)): \(what)")
    }

    package func head(_ key: String) async throws(ObjectStorageError) -> ObjectAttributes {
        let call = try objectCall("look at", .head, key)
        let response = try await headResponse(call)
        return attributes(key, response, size: try size(call, response))
    }

    /// The answer to a HEAD call.
    func headResponse(_ call: S3Call) async throws(ObjectStorageError) -> HTTPResponse {
        do throws(ObjectStorageError) {
            return try await client.perform(call).response
        } catch {
            // The answer to HEAD has no error document: ended credentials and a wrong clock look like any refusal.
            // One byte of the object is asked for, which puts them right or names them.
            guard error.code == .accessDenied || error.code == .failed else { throw error }
            var probe = call
            probe.method = .get
            probe.range = 0..<1
            do throws(ObjectStorageError) {
                _ = try await client.perform(probe)
            } catch {
                guard error.code == .invalidArgument else { throw error }  // An empty object has no first byte.
            }
            return try await client.perform(call).response
        }
    }

    private func attributes(_ key: String, _ response: HTTPResponse, size: UInt64) -> ObjectAttributes {
        let date = client.date(response)
        let modified = response.headers["Last-Modified"].flatMap { CalendarTime.parse(httpDate: $0) }
        return ObjectAttributes(
            key: key, size: size, tag: Self.tag(response.headers["ETag"] ?? ""), modified: modified ?? date, date: date)
    }

    package func serverTime() async throws(ObjectStorageError) -> Timestamp {
        let call = S3Call(
            action: "ask the time of", label: nil, method: .get, key: nil,
            query: [("list-type", "2"), ("max-keys", "1"), ("prefix", client.configuration.location.objectKey(""))])
        let (response, _) = try await client.perform(call)
        guard let date = response.headers["Date"].flatMap({ CalendarTime.parse(httpDate: $0) }) else {
            throw ObjectStorageError(
                .unsupported, "\(call.failing(client.configuration.location)): it sends no Date header")
        }
        return date
    }

    // MARK: Removing

    package func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError) {
        var call = try objectCall("delete", .delete, key)
        if let ifTag, capabilities.conditionalDelete {
            call.headers.append(("If-Match", Self.quoted(ifTag)))
            call.isReplayable = false
        } else if let ifTag {
            let current = try await head(key).tag
            guard current == ifTag else {
                throw ObjectStorageError(
                    .preconditionFailed, "\(call.failing(client.configuration.location)): it was replaced meanwhile")
            }
        }
        do throws(ObjectStorageError) {
            _ = try await client.perform(call)
        } catch {
            guard error.code == .notFound, ifTag == nil else { throw error }
        }
    }

    // MARK: Others' use

    /// An address at which anybody may do `method` with the object for `seconds` seconds, at most seven days. It names
    /// the public endpoint where there is one. Under a customer key it is of no use alone: the headers are missing.
    package func presignedURL(
        _ method: HTTPMethod, _ key: String, seconds: Int
    ) async throws(ObjectStorageError) -> String {
        guard (1...604_800).contains(seconds) else {
            throw ObjectStorageError(
                .invalidArgument, "an address can be signed for 1 to 604800 seconds, not for \(seconds)")
        }
        try checkKey(key, "sign")
        // The server is not asked when the address is used: the region must be right now.
        try await client.findRegion()
        return try await client.presigned(method, client.configuration.location.objectKey(key), seconds: seconds)
    }

    // MARK: Parts for all operations

    /// A call on one object. Throws `.invalidArgument` for a key that is none.
    func objectCall(_ action: String, _ method: HTTPMethod, _ key: String) throws(ObjectStorageError) -> S3Call {
        try checkKey(key, action)
        var call = S3Call(
            action: action, label: key, method: method, key: client.configuration.location.objectKey(key))
        if method == .get || method == .head { call.headers = client.configuration.customerKey?.headers ?? [] }
        return call
    }

    /// Throws `.invalidArgument` for a key that is none.
    private func checkKey(_ key: String, _ action: String) throws(ObjectStorageError) {
        switch client.configuration.keyRule {
        case .ours: try ObjectKey.check(key, action)
        case .any:
            let size = client.configuration.location.objectKey(key).utf8.count
            guard !key.isEmpty, size <= Self.maximumKeyBytes, !key.utf8.contains(0) else {
                throw ObjectStorageError(
                    .invalidArgument,
                    "cannot \(action) an object named \(ServerText.line(String(reflecting: key))): S3 takes 1 to \(Self.maximumKeyBytes) bytes of UTF-8"
                )
            }
        }
    }

    /// Throws `.invalidArgument` for what begins no key.
    func checkPrefix(_ prefix: String) throws(ObjectStorageError) {
        switch client.configuration.keyRule {
        case .ours: try ObjectKey.checkPrefix(prefix)
        case .any: if !prefix.isEmpty { try checkKey(prefix, "list objects that begin like") }
        }
    }

    /// S3's limit for a whole key.
    private static let maximumKeyBytes = 1024

    /// An `ETag` without its quotes.
    static func tag(_ header: String) -> String {
        guard header.count >= 2, header.hasPrefix("\""), header.hasSuffix("\"") else { return header }
        return String(header.dropFirst().dropLast())
    }

    /// A tag as `If-Match` wants it.
    static func quoted(_ tag: String) -> String { tag.hasPrefix("W/") ? tag : "\"\(tag)\"" }
}
