package import HTTPTransport

/// Which part of a container's log is meant.
package struct LogOptions: Hashable, Sendable {
    /// Empty when the pod has one container only.
    package var container: String
    /// Goes on with what is written later, until the container ends.
    package var follows: Bool
    /// Of the container's run before this one.
    package var isOfPrevious: Bool
    /// Only so many of the last lines; nil for all.
    package var tailLines: Int?
    /// Only what is younger than so many seconds; nil for all.
    package var sinceSeconds: Int?
    /// At most so many bytes; nil for all.
    package var limitBytes: Int?
    /// Each line begins with its time (RFC 3339) and a space.
    package var hasTimestamps: Bool

    package init(
        container: String = "", follows: Bool = false, isOfPrevious: Bool = false, tailLines: Int? = nil,
        sinceSeconds: Int? = nil, limitBytes: Int? = nil, hasTimestamps: Bool = false
    ) {
        self.container = container
        self.follows = follows
        self.isOfPrevious = isOfPrevious
        self.tailLines = tailLines
        self.sinceSeconds = sinceSeconds
        self.limitBytes = limitBytes
        self.hasTimestamps = hasTimestamps
    }
}

/// What came of asking for a pod's eviction.
package enum EvictionResult: Hashable, Sendable {
    case evicted
    /// There is no such pod any more.
    case gone
    /// A disruption budget does not allow it now; the server's words.
    case refused(String)
}

extension KubernetesClient {
    /// A container's log as it comes. A followed log that is silent is read on for as long as the connection holds.
    package func logs(
        namespace: String, pod: String, _ options: LogOptions = LogOptions()
    ) async throws(KubernetesError) -> HTTPResponseStream {
        var call = APICall("get", .get, .pods, namespace: namespace, name: pod)
        call.subresource = "log"
        call.accept = "*/*"
        call.add("container", options.container)
        if options.follows { call.add("follow", "true") }
        if options.isOfPrevious { call.add("previous", "true") }
        if options.hasTimestamps { call.add("timestamps", "true") }
        call.add("tailLines", options.tailLines.map { "\($0)" } ?? "")
        call.add("sinceSeconds", options.sinceSeconds.map { "\($0)" } ?? "")
        call.add("limitBytes", options.limitBytes.map { "\($0)" } ?? "")
        return try await open(call, stallSeconds: options.follows ? 0 : 60, bufferedBytes: 1 << 20)
    }

    /// A container's log as text, at most `limitBytes` of it (1 MiB unless the options say otherwise).
    package func logText(
        namespace: String, pod: String, _ options: LogOptions = LogOptions()
    ) async throws(KubernetesError) -> String {
        var options = options
        options.follows = false
        let limit = options.limitBytes ?? 1 << 20
        options.limitBytes = limit
        let stream = try await logs(namespace: namespace, pod: pod, options)
        var text: [UInt8] = []
        do throws(HTTPTransportError) {
            while text.count < limit, let piece = try await stream.next() { text += piece }
        } catch {
            let call = APICall("get", .get, .pods, namespace: namespace, name: pod)
            throw StatusMapping.error(call, error, configuration.source)
        }
        return String(decoding: text.prefix(limit), as: UTF8.self)
    }

    /// Hands each whole line of a container's log to `receive`, without its end, until the log ends. A line of more than
    /// 64 KiB is passed over.
    package func readLines(
        namespace: String, pod: String, _ options: LogOptions = LogOptions(),
        _ receive: @Sendable ([UInt8]) async throws -> Void
    ) async throws {
        let stream = try await logs(namespace: namespace, pod: pod, options)
        var pending: [UInt8] = []
        while let piece = try await stream.next() {
            pending += piece
            while let end = pending.firstIndex(of: 0x0a) {
                try await receive(Array(pending[..<end]))
                pending.removeSubrange(...end)
            }
            if pending.count > 64 << 10 { pending = [] }
        }
    }

    /// Sends an HTTP request to a pod through the API server. Any status that the pod answers is an answer; what the API
    /// server itself refuses throws. `path` begins with a slash and is encoded already. It is sent once. The pod may be silent
    /// for all of `seconds`: what saves answers when it is done.
    package func proxy(
        namespace: String, pod: String, port: Int, isSecure: Bool = false, method: HTTPMethod = .get,
        path: String = "/",
        body: [UInt8]? = nil, contentType: String = "application/json", seconds: Double = 60
    ) async throws -> (response: HTTPResponse, body: [UInt8]) {
        // The scheme is a part of the name (`https:NAME:PORT`); RBAC goes by the pod's name alone.
        let verbs: [HTTPMethod: String] = [.post: "create", .put: "update", .patch: "patch", .delete: "delete"]
        var call = APICall(
            verbs[method] ?? "get", method, .pods, namespace: namespace,
            name: "\(isSecure ? "https:" : "")\(pod):\(port)")
        call.subresource = "proxy"
        call.accept = "*/*"
        call.path = path.hasPrefix("/") ? path : "/\(path)"
        call.body = body
        call.contentType = contentType
        call.isIdempotent = false
        call.waitsWhenThrottled = false
        call.seconds = seconds
        call.maximumBytes = 16 << 20
        let once = call
        return try await Deadline.run(
            seconds: seconds, or: KubernetesError(.timedOut, "cannot \(call.label): no answer within \(seconds) s")
        ) {
            try await self.performOnce(once)
        }
    }

    /// As `proxy`, for those who know no HTTP: the method by its name (`POST`), the status as a number.
    package func ask(
        namespace: String, pod: String, port: Int, method: String, path: String, seconds: Double
    ) async throws -> (status: Int, isSuccess: Bool, body: [UInt8]) {
        guard let method = HTTPMethod(rawValue: method) else {
            throw KubernetesError(.invalid, "there is no HTTP method `\(method)`")
        }
        let (response, body) = try await proxy(
            namespace: namespace, pod: pod, port: port, method: method, path: path, seconds: seconds)
        return (response.status, response.isSuccess, body)
    }

    /// Asks for a pod's eviction, which disruption budgets may refuse for now.
    package func evict(
        namespace: String, pod: String, gracePeriodSeconds: Int? = nil
    ) async throws(KubernetesError) -> EvictionResult {
        // policy/v1 from 1.22 on; the older version is gone from the group, not from this subresource, in 1.25.
        let version = try await resources(in: "policy/v1").isEmpty ? "policy/v1beta1" : "policy/v1"
        let options = DeleteOptions(gracePeriodSeconds: gracePeriodSeconds)
        let body: JSONValue = [
            "apiVersion": .string(version), "kind": "Eviction",
            "metadata": ["name": .string(pod), "namespace": .string(namespace)], "deleteOptions": options.json,
        ]
        do throws(KubernetesError) {
            _ = try await create(.pods, namespace: namespace, name: pod, subresource: "eviction", body)
            return .evicted
        } catch {
            switch error.code {
            case .notFound: return .gone
            case .tooManyRequests: return .refused(error.message)
            default: throw error
            }
        }
    }
}
