internal import Basics
internal import HTTPTransport

/// Turns answers that are no success, and requests without an answer, into errors, in this one place.
enum StatusMapping {
    /// The error for an answer; `source` names the configuration.
    static func error(_ call: APICall, _ response: HTTPResponse, _ source: String) -> KubernetesError {
        let body = try? JSONValue(parsing: response.failureBody)
        let status = body?["kind"]?.string == "Status" ? body : nil
        let plain = String(decoding: response.failureBody, as: UTF8.self)
        var error = error(call, code: response.status, status, plain, response.headers["Retry-After"], source)
        error.serverTime = response.headers["Date"].flatMap { CalendarTime.parse(httpDate: $0) }
        return error
    }

    /// The error for a `Status` object that came within a successful answer, as in a watch.
    static func error(_ call: APICall, status: JSONValue, _ source: String) -> KubernetesError {
        error(call, code: status["code"]?.int64.flatMap { Int(exactly: $0) } ?? 500, status, "", nil, source)
    }

    private static func error(
        _ call: APICall, code: Int, _ status: JSONValue?, _ plain: String, _ retryAfter: String?, _ source: String
    ) -> KubernetesError {
        let reason = status?["reason"]?.string ?? ""
        let said = line(status?["message"]?.string ?? plain)
        // Only the API's own word says that an object is not there: a proxy, or a server that has just started and does not serve
        // all paths yet, answers 404 to anything.
        let isUnknownPath = code == 404 && status == nil
        let kind: KubernetesError.Code = isUnknownPath ? .unavailable : kind(code, reason)
        let what =
            isUnknownPath
            ? "404\(said.isEmpty ? "" : " (\(said))"), which is not the API's own answer"
            : said.isEmpty ? "the server answers \(code)" : said
        let message = "cannot \(call.label): \(what)\(remedy(kind, call, source))"
        let seconds = retryAfter.flatMap(Double.init) ?? status?["details", "retryAfterSeconds"]?.number?.double
        var error = KubernetesError(
            kind, message, status: code, reason: reason,
            retryAfterSeconds: seconds.flatMap { $0 > 0 ? min($0, 86_400) : nil },
            // The server may be done with it and have lost the way back to us.
            isAmbiguous: (code == 500 || code == 502 || code == 504) && call.method != .get)
        error.isUnservedPath = isUnknownPath && said == unservedPath
        return error
    }

    /// What API servers answer for paths that they do not serve: Go's `http.NotFound`.
    private static let unservedPath = "404 page not found"

    private static func kind(_ code: Int, _ reason: String) -> KubernetesError.Code {
        switch code {
        case 401: .unauthorized
        case 403: .forbidden
        case 404: .notFound
        case 405: .unsupported
        case 409: reason == "AlreadyExists" ? .alreadyExists : .conflict
        case 410: .expired
        case 429: .tooManyRequests
        case 400, 413, 415, 422: .invalid
        case 504: .timedOut
        case 500...: .unavailable
        default: .failed
        }
    }

    private static func remedy(_ code: KubernetesError.Code, _ call: APICall, _ source: String) -> String {
        switch code {
        case .unauthorized: return "; renew the credentials of \(source)"
        case .forbidden:
            guard let resource = call.resource else { return "; grant the user of \(source) access to \(call.path)" }
            let name = call.subresource.isEmpty ? resource.plural : "\(resource.plural)/\(call.subresource)"
            let place = call.namespace.isEmpty ? "by a ClusterRole" : "by a Role in the namespace \(call.namespace)"
            return "; grant it \(place): apiGroups [\"\(resource.group)\"], resources [\"\(name)\"], "
                + "verbs [\"\(call.verb)\"]"
        case .tooManyRequests: return "; try again later"
        case .unavailable: return "; look at the API server's log, or try again later"
        default: return ""
        }
    }

    /// The error for a request that got no answer.
    static func error(_ call: APICall, _ error: HTTPTransportError, _ source: String) -> KubernetesError {
        let code: KubernetesError.Code
        let remedy: String
        switch error.code {
        case .unresolved: (code, remedy) = (.unreachable, "; check the server in \(source) and the name server")
        case .unreachable, .interrupted, .malformedResponse:
            (code, remedy) = (.unreachable, "; check the server in \(source) and the network")
        case .timedOut: (code, remedy) = (.timedOut, "; check the network to the server in \(source)")
        case .tls:
            (code, remedy) = (.untrusted, "; check the certificate authority and the client certificate in \(source)")
        case .cancelled: (code, remedy) = (.cancelled, "")
        case .invalidRequest: (code, remedy) = (.configuration, "; correct the server or the credentials in \(source)")
        case .tooLarge: (code, remedy) = (.malformed, "; ask for less at once")
        default: (code, remedy) = (.failed, "")
        }
        return KubernetesError(
            code, "cannot \(call.label): \(error.message)\(remedy)", isAmbiguous: error.isAmbiguous, cause: error)
    }

    /// A server's words on one line of bounded length, without control characters.
    static func line(_ text: String) -> String {
        let words = text.split { character in
            character.isWhitespace || character.unicodeScalars.contains { $0.properties.generalCategory == .control }
        }
        let line = words.joined(separator: " ")
        return line.count > 500 ? "\(line.prefix(500))…" : line
    }
}
