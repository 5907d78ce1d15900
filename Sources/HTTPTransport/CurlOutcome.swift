internal import CCurl

extension HTTPMethod {
    /// Whether a request that got lost may have changed something.
    var changesState: Bool { self != .get && self != .head && self != .options }
}

/// Translates libcurl's verdict.
enum CurlOutcome {
    /// The outcome of a transfer that ended with `code`.
    static func of(_ transfer: CurlTransfer, _ code: CURLcode, hasSent: Bool) -> CurlTransfer.Outcome {
        let request = transfer.request
        let isAmbiguous = hasSent && request.method.changesState
        switch transfer.stop {
        case .windowComplete, .receiverDone: return .success(transfer.response)
        case .tooLarge:
            return .failure(
                HTTPTransportError(
                    .tooLarge, "\(request.label): the answer is larger than asked for", isAmbiguous: isAmbiguous))
        case .headersTooLarge:
            return .failure(
                HTTPTransportError(
                    .malformedResponse, "\(request.label): more than 256 KiB of headers", isAmbiguous: isAmbiguous))
        case nil: break
        }
        // A failure's endless body was cut off: its beginning is enough.
        let isCutFailure = code == CURLE_WRITE_ERROR && transfer.status >= 300
        if code == CURLE_OK || isCutFailure {
            guard transfer.status >= 200 else {
                return .failure(
                    HTTPTransportError(
                        .interrupted, "\(request.label): the connection closed within the answer's headers",
                        isAmbiguous: isAmbiguous))
            }
            return .success(transfer.response)
        }
        let reason = unsafe text(transfer.errorText, code)
        let kind = kind(code, hasSent: hasSent)
        return .failure(HTTPTransportError(kind, "\(request.label): \(reason)", isAmbiguous: isAmbiguous))
    }

    /// The reason that libcurl gives, on one line.
    static func text(_ buffer: UnsafeMutablePointer<CChar>, _ code: CURLcode) -> String {
        // The body cannot be sent again on another connection: what happened is that this one broke.
        if code == CURLE_SEND_FAIL_REWIND { return "the connection broke before the answer came" }
        let detail = unsafe String(cString: buffer)
        let line = detail.split(whereSeparator: \.isNewline).joined(separator: " ")
        return line.isEmpty ? unsafe String(cString: curl_easy_strerror(code)) : line
    }

    /// What kind of failure a code means.
    static func kind(_ code: CURLcode, hasSent: Bool) -> HTTPTransportError.Code {
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: .unresolved
        case CURLE_COULDNT_CONNECT, CURLE_PROXY: .unreachable
        case CURLE_OPERATION_TIMEDOUT: hasSent ? .timedOut : .unreachable
        case CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER, CURLE_PEER_FAILED_VERIFICATION,
            CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_ENGINE_INITFAILED,
            CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_CLIENTCERT:
            .tls
        case CURLE_GOT_NOTHING, CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_PARTIAL_FILE, CURLE_SEND_FAIL_REWIND,
            CURLE_SSL_SHUTDOWN_FAILED:
            .interrupted
        case CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_CONTENT_ENCODING: .malformedResponse
        case CURLE_URL_MALFORMAT: .invalidRequest
        default: .failed
        }
    }
}
