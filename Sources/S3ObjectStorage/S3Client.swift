internal import Basics
internal import HTTPTransport
internal import Logging
internal import ObjectStorage
internal import Sealing
internal import Synchronization

/// Addresses, signs and sends calls, and repeats one once where the answer tells how to get it right: another region,
/// another time of day, new credentials. Everything else is an error of the store.
final class S3Client: Sendable {
    private struct State {
        var region: String
        /// Whether the bucket has still to be asked for its region.
        var guessesRegion: Bool
        /// Seconds to add to our clock to get the server's.
        var clockOffset = 0.0
    }

    let configuration: S3Configuration
    let credentials: any CredentialProvider
    let transport: any HTTPTransport
    private let clock: any WallClock
    let logger: Logger
    private let signer = SigV4Signer(service: "s3")
    private let state: Mutex<State>

    /// Bodies up to this many bytes are signed by their hash even over TLS.
    private static let alwaysHashedBytes = 64 << 10

    init(
        _ configuration: S3Configuration, transport: any HTTPTransport, credentials: any CredentialProvider,
        clock: any WallClock, logger: Logger
    ) {
        self.configuration = configuration
        self.transport = transport
        self.credentials = credentials
        self.clock = clock
        self.logger = logger
        state = Mutex(State(region: configuration.region, guessesRegion: configuration.guessesRegion))
    }

    /// The region in force.
    var region: String { state.withLock { $0.region } }

    private var signingRegion: String { configuration.location.accessPoint?.region ?? region }

    /// The server's present time as well as we know it.
    func now() -> Timestamp { clock.now().advanced(bySeconds: state.withLock { $0.clockOffset }) }

    /// The server's time at an answer; our own idea of it when the answer has none.
    func date(_ response: HTTPResponse) -> Timestamp {
        response.headers["Date"].flatMap { CalendarTime.parse(httpDate: $0) } ?? now()
    }

    /// Where a key lies: host and encoded path.
    struct Address {
        let endpoint: S3Endpoint
        let path: String
    }

    /// The address of an object, or of the bucket, at the endpoint that is configured or at another.
    func address(_ key: String?, at given: S3Endpoint? = nil) -> Address {
        let location = configuration.location
        let given = given ?? configuration.endpoint
        var endpoint =
            given
            ?? S3Endpoint.amazon(
                location.accessPoint == nil ? "s3" : "s3-accesspoint", region: location.accessPoint?.region ?? region,
                usesFIPS: configuration.usesFIPS, usesDualStack: configuration.usesDualStack)
        let label = location.accessPoint?.hostLabel ?? location.bucket
        let usesPath =
            location.accessPoint == nil
            && (endpoint.isAddress || !Self.isHostLabel(label) || configuration.usesPathStyle ?? (given != nil))
        var path = endpoint.basePath
        if usesPath {
            path += "/\(PercentEncoding.encode(label))"
        } else {
            endpoint = S3Endpoint(
                isSecure: endpoint.isSecure, host: "\(label).\(endpoint.host)", port: endpoint.port,
                basePath: endpoint.basePath)
        }
        if let key {
            path += "/\(PercentEncoding.encode(key, keepingSlashes: true))"
        } else if path.isEmpty {
            path = "/"
        }
        return Address(endpoint: endpoint, path: path)
    }

    /// Whether a bucket's name fits a host's name under a certificate for one label.
    private static func isHostLabel(_ bucket: String) -> Bool {
        bucket.utf8.allSatisfy { byte in
            (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte == UInt8(ascii: "-")
        }
    }

    // MARK: Calls

    /// What the server answers to a successful call; the body goes to `buffer`, which is emptied first.
    func perform(
        _ call: S3Call, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> HTTPResponse {
        try await findRegion()
        return try await send(call, into: buffer, maximumBytes: maximumBytes)
    }

    private func send(
        _ call: S3Call, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> HTTPResponse {
        var call = call
        var corrected: Set<Correction> = []
        while true {
            buffer.count = 0
            let credentials = try await credentials.credentials()
            await hashPayload(&call)
            let request = signed(call, credentials)
            let response: HTTPResponse
            do throws(HTTPTransportError) {
                response = try await transport.perform(request, into: buffer, maximumBytes: maximumBytes)
            } catch {
                throw TransportErrorMapping.error(
                    error, call.failing(configuration.location), endpoint: configuration.endpoint)
            }
            if response.isSuccess { return response }
            let failure = S3Failure(response)
            if let named = failure.region { noteRegion(named) }
            guard let correction = correct(failure, credentials, corrected) else {
                throw failure.error(
                    for: call, at: configuration.location, credentials: self.credentials.source.description)
            }
            corrected.insert(correction)
        }
    }

    /// As above, for a small answer.
    func perform(
        _ call: S3Call, maximumBytes: Int = 1 << 20
    ) async throws(ObjectStorageError) -> (response: HTTPResponse, body: [UInt8]) {
        let buffer = Buffer(capacity: 0)
        let response = try await perform(call, into: buffer, maximumBytes: maximumBytes)
        return (response, buffer.array())
    }

    /// Asks the bucket for its region (HeadBucket), where it was only guessed: a large upload to the wrong one may be cut off
    /// before the server has said where to go. A refusal names the region too, and is for the next request to tell; throws when
    /// there is no answer at all. Several at once may ask.
    func findRegion() async throws(ObjectStorageError) {
        guard state.withLock({ $0.guessesRegion }) else { return }
        let call = S3Call(action: "ask for the region of", label: nil, method: .head, key: nil)
        do throws(ObjectStorageError) {
            let response = try await send(call, into: Buffer(capacity: 0), maximumBytes: 1 << 16)
            if let named = response.headers["x-amz-bucket-region"] { noteRegion(named) }
        } catch {
            guard !error.code.isTemporary, error.code != .cancelled, error.code != .expiredCredentials else {
                throw error
            }
        }
        state.withLock { $0.guessesRegion = false }
    }

    /// Takes the region that the server names for the bucket, by whatever answer, while ours is but a guess.
    private func noteRegion(_ named: String) {
        guard S3Configuration.isRegion(named) else { return }
        state.withLock { if $0.guessesRegion { $0.region = named } }
    }

    private enum Correction { case region, clock, credentials }

    /// Puts right what the server complains of, each thing at most once; nil when there is nothing to be put right.
    private func correct(
        _ failure: S3Failure, _ used: AWSCredentials, _ corrected: Set<Correction>
    ) -> Correction? {
        if let other = failure.otherRegion, other != region, !corrected.contains(.region) {
            state.withLock { $0.region = other }
            logger.info("the bucket is in another region", metadata: ["region": "\(other)"])
            return .region
        }
        if failure.isClockSkew, let date = failure.date, !corrected.contains(.clock) {
            let offset = date - clock.now()
            state.withLock { $0.clockOffset = offset }
            logger.warning("this machine's clock is wrong; the server's is used", metadata: ["seconds": "\(offset)"])
            return .clock
        }
        if failure.isExpiredToken, !corrected.contains(.credentials), credentials.invalidate(used) {
            return .credentials
        }
        return nil
    }

    private func hashPayload(_ call: inout S3Call) async {
        guard call.payloadHash == nil else { return }
        guard let body = call.body, body.count > 0 else {
            call.payloadHash = SigV4Signer.emptyPayloadHash
            return
        }
        if address(call.key).endpoint.isSecure, body.count > Self.alwaysHashedBytes {
            call.payloadHash = SigV4Signer.unsignedPayload
        } else if let digest = call.bodyDigest {
            call.payloadHash = Hex.encode(digest)
        } else {
            call.payloadHash = await PayloadHash.sha256(body).description
        }
    }

    private func signed(_ call: S3Call, _ credentials: AWSCredentials) -> HTTPRequest {
        let address = address(call.key)
        let region = signingRegion
        let time = now()
        let hash = call.payloadHash ?? SigV4Signer.unsignedPayload
        var headers = call.headers
        if let range = call.range { headers.append(("Range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")) }
        headers.append(("X-Amz-Content-Sha256", hash))
        headers.append(("X-Amz-Date", CalendarTime(time).compactText))
        if let token = credentials.sessionToken { headers.append(("X-Amz-Security-Token", token)) }
        let toSign = SigV4Signer.Request(
            method: call.method.rawValue, path: address.path, query: call.query,
            headers: headers + [("Host", address.endpoint.authority)], payloadHash: hash)
        headers.append(
            ("Authorization", signer.authorization(toSign, region: region, credentials: credentials, time: time)))
        let query = call.query.isEmpty ? "" : "?\(SigV4Signer.canonicalQuery(call.query))"
        var request = HTTPRequest(
            call.method, "\(address.endpoint.scheme)://\(address.endpoint.authority)\(address.path)\(query)",
            headers: HTTPHeaders(headers), body: call.body)
        request.expectsContinue = call.expectsContinue
        request.isReplayable = call.isReplayable
        request.window = call.range
        request.stallSeconds = call.stallSeconds
        return request
    }

    /// An address that anybody may use for `seconds` seconds to do `method` with the object.
    func presigned(
        _ method: HTTPMethod, _ key: String, seconds: Int
    ) async throws(ObjectStorageError) -> String {
        let credentials = try await credentials.credentials()
        let address = address(key, at: configuration.publicEndpoint)
        let request = SigV4Signer.Request(
            method: method.rawValue, path: address.path, headers: [("Host", address.endpoint.authority)],
            payloadHash: SigV4Signer.unsignedPayload)
        let query = signer.presignedQuery(
            request, region: signingRegion, credentials: credentials, time: now(), seconds: seconds)
        return "\(address.endpoint.scheme)://\(address.endpoint.authority)\(address.path)?\(query)"
    }
}
