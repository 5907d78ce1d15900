package import Basics
internal import HTTPTransport
package import Logging
internal import Synchronization

/// A client of one Kubernetes API server, from version 1.20 on. It knows no kinds of workloads.
///
/// Calls may be made from any task at once. What a server does not answer, or answers with "later", is tried again for as
/// long as `patience` says, as far as doing it twice does no harm; a cancelled task's call ends with `.cancelled`.
/// Connections are bounded (64); a watch and a followed log take one each.
package final class KubernetesClient: Sendable {
    /// How long a call goes on trying.
    package struct Patience: Hashable, Sendable {
        /// No attempt begins later than so many seconds after the first.
        package var totalSeconds: Double
        /// The wait before the second attempt is up to so many seconds; each further one up to twice the one before.
        package var baseSeconds: Double
        /// Seconds that a wait lasts at most, unless the server asks for more.
        package var maximumDelaySeconds: Double
        /// Seconds that one attempt may take: lists of large collections take tens of seconds.
        package var attemptSeconds: Double
        /// Seconds without a byte after which an attempt is given up.
        package var silenceSeconds: Int
        /// The same for lists and creations, whose first byte comes when all is done: large collections are read, and
        /// webhooks may take 30 seconds each. The server itself gives up after 60.
        package var longSilenceSeconds: Int

        package init(
            totalSeconds: Double, baseSeconds: Double = 0.25, maximumDelaySeconds: Double = 5,
            attemptSeconds: Double = 120, silenceSeconds: Int = 30, longSilenceSeconds: Int = 65
        ) {
            self.totalSeconds = totalSeconds
            self.baseSeconds = baseSeconds
            self.maximumDelaySeconds = maximumDelaySeconds
            self.attemptSeconds = attemptSeconds
            self.silenceSeconds = silenceSeconds
            self.longSilenceSeconds = longSilenceSeconds
        }

        /// Outlives an API server that restarts or fails over, which takes a minute.
        package static let standard = Patience(totalSeconds: 120)
        /// Tells soon that there is no server.
        package static let brief = Patience(totalSeconds: 10)

        /// Seconds to wait after attempt number `attempt`: exponential with full jitter, and not less than the server
        /// asked for.
        func delay(afterAttempt attempt: Int, chance: Double, retryAfter: Double?) -> Double {
            var ceiling = baseSeconds
            for _ in 1..<max(attempt, 1) where ceiling < maximumDelaySeconds { ceiling *= 2 }
            return max(min(ceiling, maximumDelaySeconds) * chance, retryAfter ?? 0)
        }
    }

    package let configuration: KubernetesConfiguration
    package let patience: Patience
    let credentials: Credentials
    let discovery = DiscoveryCache()
    let wallClock: any WallClock
    let logger: Logger
    private let transport = Mutex<(CurlTransportConfiguration, CurlTransport)?>(nil)

    /// A client; it connects when it is first asked for something.
    package init(
        _ configuration: KubernetesConfiguration, patience: Patience = .standard,
        clock: any WallClock = SystemWallClock(), logger: Logger = Logger(label: "kubernetes")
    ) {
        self.configuration = configuration
        self.patience = patience
        wallClock = clock
        self.logger = logger
        credentials = Credentials(configuration, clock: clock, logger: logger)
    }

    /// The namespace that is meant where none is named.
    package var namespace: String { configuration.namespace }

    // MARK: Calls

    /// The answer to a call, once it is a success.
    func perform(_ call: APICall) async throws(KubernetesError) -> (response: HTTPResponse, body: [UInt8]) {
        let buffer = Buffer(capacity: 0)
        let response = try await retrying(call) { transport, request throws(HTTPTransportError) in
            buffer.count = 0
            return try await transport.perform(request, into: buffer, maximumBytes: call.maximumBytes)
        }
        return (response, buffer.array())
    }

    /// The JSON that a call answers.
    func json(_ call: APICall) async throws(KubernetesError) -> JSONValue {
        let (_, body) = try await perform(call)
        do throws(JSONError) {
            return try JSONValue(parsing: body, limits: JSONValue.Limits(maximumBytes: call.maximumBytes))
        } catch {
            throw KubernetesError(
                .malformed,
                "cannot \(call.label): the answer is no JSON: \(error); is \(configuration.server) an API server?")
        }
    }

    /// The object that a call answers.
    func object(_ call: APICall) async throws(KubernetesError) -> KubernetesObject {
        let json = try await json(call)
        do throws(KubernetesObject.Malformed) {
            return try KubernetesObject(json)
        } catch {
            throw KubernetesError(.malformed, "cannot \(call.label): \(error)")
        }
    }

    /// The answer's body as it comes; see `HTTPTransport.open`. Tried again only until there is a head.
    func open(
        _ call: APICall, stallSeconds: Int, totalSeconds: Int? = nil, bufferedBytes: Int = 4 << 20
    ) async throws(KubernetesError)
        -> HTTPResponseStream
    {
        let opened = Mutex<HTTPResponseStream?>(nil)
        _ = try await retrying(call) { transport, request throws(HTTPTransportError) in
            var request = request
            request.stallSeconds = stallSeconds
            request.totalMilliseconds = totalSeconds.map { $0 * 1000 }
            let stream = try await transport.open(request, bufferedBytes: bufferedBytes)
            opened.withLock { $0 = stream }
            return stream.response
        }
        guard let stream = opened.withLock({ $0 }) else {
            throw KubernetesError(.failed, "cannot \(call.label): no stream")
        }
        return stream
    }

    /// Sends a call until it succeeds, fails for good, or patience ends.
    private func retrying(
        _ call: APICall,
        _ send: (CurlTransport, HTTPRequest) async throws(HTTPTransportError) -> HTTPResponse
    ) async throws(KubernetesError) -> HTTPResponse {
        if let fault = call.fault { throw KubernetesError(.invalid, "cannot \(call.label): \(fault)") }
        let clock = ContinuousClock()
        let patience = call.patience ?? patience
        let deadline = clock.now.advanced(by: .seconds(patience.totalSeconds))
        var attempt = 0
        var hasRenewed = false
        var wasAmbiguous = false
        while true {
            attempt += 1
            let material = try await credentials.material()
            var error: KubernetesError
            var mayRetry = false
            do throws(HTTPTransportError) {
                let response = try await send(try transport(material), request(call, material))
                if response.isSuccess { return response }
                error = StatusMapping.error(call, response, configuration.source)
                mayRetry = isWorthRetrying(call, error)
            } catch let failure {
                error = StatusMapping.error(call, failure, configuration.source)
                mayRetry = isWorthRetrying(call, failure)
            }
            if error.code == .unauthorized || error.code == .untrusted, !hasRenewed, credentials.invalidate(material) {
                hasRenewed = true
                continue
            }
            // A deletion that was repeated finds nothing when it had worked the first time.
            if wasAmbiguous { error.isAmbiguous = true }
            wasAmbiguous = error.isAmbiguous
            let delay = patience.delay(
                afterAttempt: attempt, chance: .random(in: 0.1...1), retryAfter: error.retryAfterSeconds)
            guard mayRetry, clock.now.advanced(by: .seconds(delay)) < deadline else { throw error }
            logger.debug("trying again", metadata: ["call": "\(call.label)", "error": "\(error)"])
            do {
                try await Task.sleep(for: .seconds(delay), clock: clock)
            } catch {
                throw KubernetesError(.cancelled, "cannot \(call.label): it was cancelled")
            }
        }
    }

    /// Sends a call once (twice when credentials had to be fetched anew). An answer of any status is an answer unless the
    /// API server itself gave it, which shows by a `Status` object.
    func performOnce(_ call: APICall) async throws(KubernetesError) -> (response: HTTPResponse, body: [UInt8]) {
        if let fault = call.fault { throw KubernetesError(.invalid, "cannot \(call.label): \(fault)") }
        var hasRenewed = false
        while true {
            let material = try await credentials.material()
            let buffer = Buffer(capacity: 0)
            let response: HTTPResponse
            do throws(HTTPTransportError) {
                response = try await transport(material).perform(
                    request(call, material), into: buffer, maximumBytes: call.maximumBytes)
            } catch {
                // A certificate may have been renewed on the disk.
                if error.code == .tls, !error.isAmbiguous, !hasRenewed, credentials.invalidate(material) {
                    hasRenewed = true
                    continue
                }
                throw StatusMapping.error(call, error, configuration.source)
            }
            if response.isSuccess { return (response, buffer.array()) }
            let body = try? JSONValue(parsing: response.failureBody)
            guard body?["kind"] == "Status", body?["apiVersion"] == "v1" else {
                return (response, response.failureBody)
            }
            let error = StatusMapping.error(call, response, configuration.source)
            guard error.code == .unauthorized, !hasRenewed, credentials.invalidate(material) else { throw error }
            hasRenewed = true
        }
    }

    private func isWorthRetrying(_ call: APICall, _ error: KubernetesError) -> Bool {
        switch error.status {
        case 429: call.waitsWhenThrottled
        // With a time to come again the server has not done it, as client-go takes it too.
        case 500, 502, 503, 504: call.isIdempotent || error.retryAfterSeconds != nil
        default: false
        }
    }

    private func isWorthRetrying(_ call: APICall, _ error: HTTPTransportError) -> Bool {
        switch error.code {
        case .unresolved, .unreachable, .timedOut, .interrupted, .malformedResponse:
            !error.isAmbiguous || call.isIdempotent
        default: false
        }
    }

    /// The request for a call.
    func request(_ call: APICall, _ material: Credentials.Material) -> HTTPRequest {
        var request = HTTPRequest(call.method, configuration.server + call.target)
        request.headers = headers(material)
        request.headers["Accept"] = call.accept
        if let body = call.body {
            request.headers["Content-Type"] = call.contentType
            request.body = HTTPBody(body)
        }
        request.isReplayable = call.isIdempotent
        let patience = call.patience ?? patience
        if let seconds = call.seconds {
            // What the answer waits for may be silent all the while. The caller's own clock ends it first.
            request.totalMilliseconds = Int(min(max(seconds, 0), 1e6) * 1000) + 1000
            request.stallSeconds = 0
        } else {
            request.totalMilliseconds = Int(patience.attemptSeconds * 1000)
            request.stallSeconds =
                call.verb == "list" || call.method == .post ? patience.longSilenceSeconds : patience.silenceSeconds
        }
        return request
    }

    /// Who asks.
    func headers(_ material: Credentials.Material) -> HTTPHeaders {
        var headers = HTTPHeaders()
        if let authorization = material.authorization { headers["Authorization"] = authorization }
        if !configuration.impersonatedUser.isEmpty { headers["Impersonate-User"] = configuration.impersonatedUser }
        if !configuration.impersonatedUID.isEmpty { headers["Impersonate-Uid"] = configuration.impersonatedUID }
        for group in configuration.impersonatedGroups { headers.add("Impersonate-Group", group) }
        for (key, values) in configuration.impersonatedExtra.sorted(by: { $0.key < $1.key }) {
            let name = "Impersonate-Extra-\(URLEncoding.encodeHeaderName(key))"
            for value in values { headers.add(name, value) }
        }
        return headers
    }

    /// The transport for what the credentials are now: another one when certificates have changed. What runs over the
    /// old one keeps it until it is done.
    private func transport(_ material: Credentials.Material) throws(HTTPTransportError) -> CurlTransport {
        let wanted = material.transport
        let (made, fault): (CurlTransport?, HTTPTransportError?) = transport.withLock { current in
            if let (configuration, transport) = current, configuration.authorities == wanted.authorities,
                configuration.identity?.certificate == wanted.identity?.certificate,
                configuration.identity?.key == wanted.identity?.key
            {
                return (transport, nil)
            }
            do throws(HTTPTransportError) {
                let transport = try CurlTransport(wanted)
                current = (wanted, transport)
                return (transport, nil)
            } catch {
                return (nil, error)
            }
        }
        guard let made else { throw fault ?? HTTPTransportError(.failed, "libcurl cannot start") }
        return made
    }
}
