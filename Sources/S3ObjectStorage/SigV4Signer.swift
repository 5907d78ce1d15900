package import Basics
internal import Sealing
internal import Synchronization

/// Signs requests after AWS Signature Version 4 ("Signature Version 4 signing process", AWS General Reference, and
/// "Authenticating Requests", Amazon S3 API Reference). Own implementation: libcurl's of 2022 is refused by servers.
package final class SigV4Signer: Sendable {
    /// What is signed.
    package struct Request: Sendable {
        package var method: String
        /// Percent-encoded, beginning with a slash. S3 wants it encoded once and not normalised.
        package var path: String
        /// Not encoded, in any order.
        package var query: [(name: String, value: String)]
        /// All headers to be signed, `Host` among them. `Connection`, `Accept-Encoding`, `Expect` and the like are
        /// changed on the way and must not be among them.
        package var headers: [(name: String, value: String)]
        /// SHA-256 of the body in hexadecimal, or `UNSIGNED-PAYLOAD`.
        package var payloadHash: String

        package init(
            method: String, path: String, query: [(name: String, value: String)] = [],
            headers: [(name: String, value: String)], payloadHash: String
        ) {
            self.method = method
            self.path = path
            self.query = query
            self.headers = headers
            self.payloadHash = payloadHash
        }
    }

    /// Stands for a body that is not signed; only over TLS.
    package static let unsignedPayload = "UNSIGNED-PAYLOAD"
    /// SHA-256 of nothing.
    package static let emptyPayloadHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    private struct CachedKey {
        var secret: String
        var day: String
        var region: String
        var key: HMACSHA256
    }

    private let service: String
    private let cached = Mutex<CachedKey?>(nil)

    /// A signer for `service` (`s3`, `sts`). The derived key is kept for the day, the region and the credentials.
    package init(service: String) {
        self.service = service
    }

    /// The value of the `Authorization` header. `X-Amz-Date` must be among the request's headers and say `time`.
    package func authorization(
        _ request: Request, region: String, credentials: AWSCredentials, time: Timestamp
    ) -> String {
        let date = CalendarTime(time).compactText
        let (canonical, signedHeaders) = canonical(request)
        let scope = "\(date.prefix(8))/\(region)/\(service)/aws4_request"
        let signature = sign(canonical, date: date, scope: scope, region: region, credentials: credentials)
        return
            "AWS4-HMAC-SHA256 Credential=\(credentials.accessKeyID)/\(scope),SignedHeaders=\(signedHeaders),Signature=\(signature)"
    }

    /// The query of an address that may be used without credentials for `seconds` seconds (at most 604,800).
    package func presignedQuery(
        _ request: Request, region: String, credentials: AWSCredentials, time: Timestamp, seconds: Int
    ) -> String {
        let date = CalendarTime(time).compactText
        let scope = "\(date.prefix(8))/\(region)/\(service)/aws4_request"
        var request = request
        let names = request.headers.map { Self.lowered($0.name) }.sorted().joined(separator: ";")
        request.query += [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", "\(credentials.accessKeyID)/\(scope)"),
            ("X-Amz-Date", date), ("X-Amz-Expires", String(seconds)), ("X-Amz-SignedHeaders", names),
        ]
        if let token = credentials.sessionToken { request.query.append(("X-Amz-Security-Token", token)) }
        let (canonical, _) = canonical(request)
        let signature = sign(canonical, date: date, scope: scope, region: region, credentials: credentials)
        return Self.canonicalQuery(request.query) + "&X-Amz-Signature=" + signature
    }

    /// `query` encoded and sorted as it is signed; send it like that.
    package static func canonicalQuery(_ query: [(name: String, value: String)]) -> String {
        let encoded = query.map { (PercentEncoding.encode($0.name), PercentEncoding.encode($0.value)) }
        return encoded.sorted { left, right in
            let order = compare(left.0, right.0)
            return order == 0 ? compare(left.1, right.1) < 0 : order < 0
        }.map { "\($0.0)=\($0.1)" }.joined(separator: "&")
    }

    // MARK: Parts

    private static func compare(_ left: String, _ right: String) -> Int {
        if left == right { return 0 }
        return left.utf8.lexicographicallyPrecedes(right.utf8) ? -1 : 1
    }

    private static func lowered(_ name: String) -> String { name.lowercased() }

    /// Trimmed, runs of spaces made one.
    private static func trimmed(_ value: String) -> String {
        value.split(whereSeparator: { $0 == " " || $0 == "\t" }).joined(separator: " ")
    }

    private func canonical(_ request: Request) -> (text: String, signedHeaders: String) {
        var values: [String: [String]] = [:]
        for header in request.headers {
            values[Self.lowered(header.name), default: []].append(Self.trimmed(header.value))
        }
        let names = values.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let signedHeaders = names.joined(separator: ";")
        var text = "\(request.method)\n\(request.path)\n\(Self.canonicalQuery(request.query))\n"
        for name in names { text += "\(name):\((values[name] ?? []).joined(separator: ","))\n" }
        text += "\n\(signedHeaders)\n\(request.payloadHash)"
        return (text, signedHeaders)
    }

    private func sign(
        _ canonical: String, date: String, scope: String, region: String, credentials: AWSCredentials
    ) -> String {
        let hash = SHA256State.digest(of: Array(canonical.utf8))
        let text = "AWS4-HMAC-SHA256\n\(date)\n\(scope)\n\(hash)"
        let key = signingKey(day: String(date.prefix(8)), region: region, secret: credentials.secretAccessKey)
        return key.authenticate(Array(text.utf8)).description
    }

    private func signingKey(day: String, region: String, secret: String) -> HMACSHA256 {
        cached.withLock { cached in
            if let cached, cached.day == day, cached.region == region, cached.secret == secret { return cached.key }
            var key = HMACSHA256(key: Array("AWS4\(secret)".utf8))
            for part in [day, region, service, "aws4_request"] {
                key = HMACSHA256(key: key.authenticate(Array(part.utf8)).bytes)
            }
            cached = CachedKey(secret: secret, day: day, region: region, key: key)
            return key
        }
    }
}
