internal import Basics
internal import HTTPTransport
internal import ObjectStorage

/// What an S3 server says when it refuses ("Error responses", Amazon S3 API Reference).
struct S3Failure: Sendable {
    let status: Int
    /// The server's code, such as `NoSuchKey`; empty when it sent none.
    let code: String
    let message: String
    /// Where the bucket is, if the server tells.
    let region: String?
    /// Whether there was an error document.
    let hasDocument: Bool
    let hasBody: Bool
    let retryAfterSeconds: Double?
    let date: Timestamp?

    /// Reads a refusal.
    init(_ response: HTTPResponse) {
        self.init(response, document: response.failureBody)
    }

    /// Reads a refusal whose document is `bytes`.
    init(_ response: HTTPResponse, document bytes: [UInt8]) {
        let root = try? XMLElement.parse(bytes)
        // Without a document that parses the status alone decides; its absence shows in the message.
        let error = root?.name == "Error" ? root : root?["Error"]
        status = response.status
        code = ServerText.line(error?["Code"]?.text ?? "")
        message = ServerText.line(error?["Message"]?.text ?? "")
        hasDocument = error != nil
        hasBody = !bytes.isEmpty
        let named = response.headers["x-amz-bucket-region"] ?? error?["Region"]?.text
        region = named.flatMap { $0.isEmpty ? nil : $0 }
        date = response.headers["Date"].flatMap { CalendarTime.parse(httpDate: $0) }
        retryAfterSeconds = Self.retryAfter(response.headers["Retry-After"], now: date)
    }

    /// Seconds, or a date (RFC 9110, 10.2.3), as seconds from the answer on; at most an hour.
    private static func retryAfter(_ value: String?, now: Timestamp?) -> Double? {
        guard let value else { return nil }
        if let seconds = Int(value) { return Double(min(max(0, seconds), 3600)) }
        guard let now, let date = CalendarTime.parse(httpDate: value) else { return nil }
        return min(max(0, date - now), 3600)
    }

    /// Whether the clock is what the server complains of.
    var isClockSkew: Bool { code == "RequestTimeTooSkewed" }

    /// Whether temporary credentials have ended.
    var isExpiredToken: Bool {
        ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"].contains(code)
    }

    /// The region to turn to, if the refusal is because the bucket is elsewhere.
    var otherRegion: String? {
        let isElsewhere =
            [301, 307].contains(status)
            || (status == 400
                && ["AuthorizationHeaderMalformed", "IllegalLocationConstraintException", ""].contains(code))
        return isElsewhere ? region : nil
    }

    /// The store's error for a call that was refused so.
    func error(
        for call: S3Call, at location: S3Location, credentials: String, fileID: String = #fileID, line: UInt32 = #line
    ) -> ObjectStorageError {
        let (kind, remedy) = verdict(call, credentials)
        let said = [code, message].filter { !$0.isEmpty }.joined(separator: ": ")
        let text = said.isEmpty ? "HTTP \(status)" : "\(said) (HTTP \(status))"
        // A server that failed may have done the work all the same; one that was too busy has not begun.
        let isAmbiguous = status >= 500 && status != 503 && status != 501 && status != 507 && call.method.changesData
        return ObjectStorageError(
            kind, "\(call.failing(location)): the server answers \(text)\(remedy.isEmpty ? "" : "; \(remedy)")",
            isAmbiguous: isAmbiguous, retryAfterSeconds: retryAfterSeconds, fileID: fileID, line: line)
    }

    private typealias Verdict = (ObjectStorageError.Code, String)

    private func verdict(_ call: S3Call, _ credentials: String) -> Verdict {
        byCode(call, credentials) ?? byStatus(call, credentials)
    }

    private func byCode(_ call: S3Call, _ credentials: String) -> Verdict? {
        if isExpiredToken || code == "InvalidToken" {
            return (.expiredCredentials, "renew the credentials (from \(credentials))")
        }
        switch code {
        case "NoSuchKey", "NoSuchVersion": return (.notFound, "")
        case "NoSuchBucket": return (.noSuchBucket, "create the bucket, or correct the address and the endpoint")
        case "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "InvalidSecurity":
            return (.accessDenied, "check the keys and the region (from \(credentials))")
        case "RequestTimeTooSkewed": return (.failed, "set this machine's clock")
        case "AccessDenied", "AllAccessDisabled", "AccountProblem":
            return isLock(call)
                ? (.locked, "wait for the end of its retention") : (.accessDenied, permissions(call, credentials))
        case "ObjectLocked", "ObjectIsLocked": return (.locked, "wait for the end of its retention")
        case "ConditionalRequestConflict", "OperationAborted": return (.conflict, "")
        case "PreconditionFailed": return (.preconditionFailed, "")
        // Ceph's gateway, when two conditional puts of one object meet.
        case "UnknownError" where status == 500 && call.isConditional: return (.conflict, "")
        case "SlowDown", "SlowDownRead", "SlowDownWrite", "ThrottlingException", "Throttling", "TooManyRequests",
            "RequestLimitExceeded", "BandwidthLimitExceeded":
            return (.throttled, "")
        case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "StorageFull",
            "InsufficientStorage", "EDQUOT":
            return (.noSpace, "free space or raise the quota")
        case "RequestTimeout", "InternalError", "ServiceUnavailable": return nil
        case "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "InvalidDigest":
            return (.corrupted, "the bytes were changed on the way")
        case "EntityTooLarge": return (.tooLarge, "")
        case "InvalidRange": return (.invalidArgument, "")
        case "NotImplemented", "MethodNotAllowed": return (.unsupported, "")
        case "ObjectLockConfigurationNotFoundError", "InvalidBucketState":
            return (.unsupported, "switch on Object Lock for the bucket")
        case "NoSuchObjectLockConfiguration": return (.unsupported, "")
        case "InvalidRequest", "InvalidArgument", "MalformedXML":
            return call.concernsRetention ? (.unsupported, "switch on Object Lock for the bucket") : nil
        default: return nil
        }
    }

    private func byStatus(_ call: S3Call, _ credentials: String) -> Verdict {
        switch status {
        case 401: return (.accessDenied, "check the keys (from \(credentials))")
        case 403: return (.accessDenied, permissions(call, credentials))
        case 404:
            if call.key == nil { return (.noSuchBucket, "create the bucket, or correct the address and the endpoint") }
            if hasBody && !hasDocument { return (.failed, "check that the endpoint is an S3 server's") }
            return (.notFound, "")
        case 405, 501: return (.unsupported, "")
        case 408: return (.timedOut, "")
        case 409: return (.conflict, "")
        case 412: return (.preconditionFailed, "")
        case 413: return (.tooLarge, "")
        case 416: return (.invalidArgument, "")
        case 429, 503: return (.throttled, "")
        case 507: return (.noSpace, "free space or raise the quota")
        case 400 where code == "RequestTimeout": return (.timedOut, "")
        case 500...: return (.unavailable, "")
        case 300..<400: return (.failed, "name the bucket's own region and endpoint")
        default: return (.failed, "")
        }
    }

    private func isLock(_ call: S3Call) -> Bool {
        let text = message.lowercased()
        return call.method.changesData
            && ["object lock", "worm", "retention", "legal hold"].contains { text.contains($0) }
    }

    private func permissions(_ call: S3Call, _ credentials: String) -> String {
        "give the credentials (from \(credentials)) permission to \(call.action) there"
    }
}

extension HTTPMethod {
    /// Whether it may change what the store holds.
    var changesData: Bool { self == .put || self == .post || self == .delete }
}
