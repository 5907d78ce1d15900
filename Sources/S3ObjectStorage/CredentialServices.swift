internal import Basics
internal import HTTPTransport
internal import ObjectStorage

/// The services that hand out temporary credentials: STS, a container's service, the instance's metadata.
struct CredentialServices: Sendable {
    let settings: AWSSettings
    let region: String
    let transport: any HTTPTransport
    let clock: any WallClock

    /// Bytes of an answer that are taken.
    private static let maximumAnswerBytes = 256 << 10
    /// The instance's metadata service answers in milliseconds or, in a pod behind one hop too many, never.
    private static let metadataMilliseconds = 1_000
    private static let stsMilliseconds = 30_000

    // MARK: STS ("AWS Security Token Service API Reference")

    /// Credentials of `role` for the token in a file, which is read anew each time: it is rotated.
    func assumeRoleWithWebIdentity(
        role: String, tokenFile: String, session: String?, seconds: Int?
    ) async throws(ObjectStorageError) -> AWSCredentials {
        let token = try await SmallFile.readToken(tokenFile)
        var form = [
            ("Action", "AssumeRoleWithWebIdentity"), ("Version", "2011-06-15"), ("RoleArn", role),
            ("RoleSessionName", session ?? "becalm"), ("WebIdentityToken", token),
        ]
        if let seconds { form.append(("DurationSeconds", String(seconds))) }
        return try await sts(form, action: "AssumeRoleWithWebIdentity", role: role, credentials: nil)
    }

    /// Credentials of `role` for other credentials.
    func assumeRole(
        role: String, with credentials: AWSCredentials, session: String?, externalID: String?, seconds: Int?
    ) async throws(ObjectStorageError) -> AWSCredentials {
        var form = [
            ("Action", "AssumeRole"), ("Version", "2011-06-15"), ("RoleArn", role),
            ("RoleSessionName", session ?? "becalm"),
        ]
        if let externalID { form.append(("ExternalId", externalID)) }
        if let seconds { form.append(("DurationSeconds", String(seconds))) }
        return try await sts(form, action: "AssumeRole", role: role, credentials: credentials)
    }

    private func sts(
        _ form: [(String, String)], action: String, role: String, credentials: AWSCredentials?
    ) async throws(ObjectStorageError) -> AWSCredentials {
        let endpoint =
            try settings.endpoint(of: "STS").map { text throws(ObjectStorageError) in try S3Endpoint.parse(text) }
            ?? S3Endpoint.amazon(
                "sts", region: region, usesFIPS: settings.flag("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint"))
        let text = form.map { "\($0.0)=\(PercentEncoding.encode($0.1))" }.joined(separator: "&")
        let body = Array(text.utf8)
        var request = HTTPRequest(.post, "\(endpoint)/", body: HTTPBody(body))
        request.totalMilliseconds = Self.stsMilliseconds
        request.headers.add("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
        if let credentials {
            signSTS(&request, endpoint, body, credentials)
        }
        let (response, answer) = try await perform(request, "assume the role \(role)")
        let document = try? XMLElement.parse(response.isSuccess ? answer : response.failureBody)
        guard response.isSuccess, let values = document?["\(action)Result"]?["Credentials"] else {
            let error = document?["Error"] ?? document
            let code = error?["Code"]?.text ?? "no reason"
            let words = ServerText.line(error?["Message"]?.text ?? "")
            throw Self.refused(
                response.status,
                "cannot assume the role \(role): STS answers \(ServerText.line(code)): \(words) (HTTP \(response.status))"
            )
        }
        return try Self.credentials(
            values["AccessKeyId"]?.text, values["SecretAccessKey"]?.text, values["SessionToken"]?.text,
            values["Expiration"]?.text, from: "STS")
    }

    private func signSTS(
        _ request: inout HTTPRequest, _ endpoint: S3Endpoint, _ body: [UInt8], _ credentials: AWSCredentials
    ) {
        let now = clock.now()
        request.headers.add("X-Amz-Date", CalendarTime(now).compactText)
        if let token = credentials.sessionToken { request.headers.add("X-Amz-Security-Token", token) }
        let headers = [("Host", endpoint.authority)] + request.headers.fields.map { ($0.name, $0.value) }
        let signed = SigV4Signer.Request(
            method: "POST", path: "\(endpoint.basePath)/", headers: headers, payloadHash: PayloadHash.sha256(body))
        let authorization = SigV4Signer(service: "sts").authorization(
            signed, region: region, credentials: credentials, time: now)
        request.headers.add("Authorization", authorization)
    }

    // MARK: Container

    /// A container's credential service, as the environment names it.
    struct ContainerRequest: Sendable {
        let url: String
        let token: String?
        let tokenFile: String?

        /// The address without a query.
        var label: String { String(url.prefix { $0 != "?" }) }
    }

    /// The container's service; nil when none is set. Throws `.expiredCredentials` for an address that a token must
    /// not be sent to.
    func containerRequest() throws(ObjectStorageError) -> ContainerRequest? {
        let url: String
        if let path = settings.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            url = "http://169.254.170.2\(path.hasPrefix("/") ? "" : "/")\(path)"
        } else if let full = settings.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            let endpoint = try S3Endpoint.parse(String(full.prefix { $0 != "?" }))
            guard full.hasPrefix("https://") || Self.isLocal(endpoint.host) else {
                throw ObjectStorageError(
                    .expiredCredentials,
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor on this host, nor one of the container services' own addresses: correct it"
                )
            }
            url = full
        } else {
            return nil
        }
        return ContainerRequest(
            url: url, token: settings.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
            tokenFile: settings.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
    }

    /// Whether plain HTTP may be spoken with the host: loopback, ECS, EKS Pod Identity.
    static func isLocal(_ host: String) -> Bool {
        if ["localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"].contains(host) { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// Credentials from a container's service; the token file is read anew each time.
    func container(_ source: ContainerRequest) async throws(ObjectStorageError) -> AWSCredentials {
        var request = HTTPRequest(.get, source.url)
        request.totalMilliseconds = 10_000
        request.bypassesProxy = true
        var token = source.token
        if let file = source.tokenFile { token = try await SmallFile.readToken(file) }
        if let token { request.headers.add("Authorization", token) }
        let (response, answer) = try await perform(request, "fetch credentials from \(source.label)")
        guard response.isSuccess else {
            throw Self.refused(
                response.status, "cannot fetch credentials: \(source.label) answers HTTP \(response.status)")
        }
        return try CredentialDocument.parse(answer, from: source.label)
    }

    // MARK: Instance metadata ("Amazon EC2 User Guide", IMDSv2)

    /// Credentials of the instance's role.
    func instanceMetadata() async throws(ObjectStorageError) -> AWSCredentials {
        let isIPv6 = settings.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")?.lowercased() == "ipv6"
        let standard = isIPv6 ? "http://[fd00:ec2::254]" : "http://169.254.169.254"
        let base = try S3Endpoint.parse(settings.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") ?? standard)
        let path = "\(base)/latest/meta-data/iam/security-credentials/"
        let token = try await metadata(
            .put, "\(base)/latest/api/token", ("X-aws-ec2-metadata-token-ttl-seconds", "21600"))
        let header = ("X-aws-ec2-metadata-token", token)
        let role = try await metadata(.get, path, header).prefix { !$0.isNewline }
        let document = try await metadata(.get, path + PercentEncoding.encode(String(role)), header)
        return try CredentialDocument.parse(Array(document.utf8), from: "the instance metadata service")
    }

    private func metadata(
        _ method: HTTPMethod, _ url: String, _ header: (String, String)
    ) async throws(ObjectStorageError) -> String {
        var request = HTTPRequest(method, url, body: method == .put ? HTTPBody([UInt8]()) : nil)
        request.headers.add(header.0, header.1)
        request.totalMilliseconds = Self.metadataMilliseconds
        request.bypassesProxy = true
        let response: HTTPResponse
        let body: [UInt8]
        do throws(HTTPTransportError) {
            (response, body) = try await transport.perform(request, maximumBytes: Self.maximumAnswerBytes)
        } catch {
            if error.code == .cancelled { throw ObjectStorageError(.cancelled, "fetching credentials was cancelled") }
            throw ObjectStorageError(
                .expiredCredentials,
                "no credentials for S3: none are set and the instance metadata service does not answer; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role",
                cause: error)
        }
        guard response.isSuccess else {
            throw ObjectStorageError(
                .expiredCredentials,
                "the instance metadata service answers HTTP \(response.status) to \(request.label): give the instance a role, or set other credentials"
            )
        }
        return String(decoding: body, as: UTF8.self)
    }

    // MARK: Answers

    private func perform(
        _ request: HTTPRequest, _ action: String
    ) async throws(ObjectStorageError) -> (HTTPResponse, [UInt8]) {
        do throws(HTTPTransportError) {
            return try await transport.perform(request, maximumBytes: Self.maximumAnswerBytes)
        } catch {
            throw TransportErrorMapping.error(error, "cannot \(action)", endpoint: nil)
        }
    }

    /// A refusal for good, unless the service is at fault itself.
    private static func refused(_ status: Int, _ message: String) -> ObjectStorageError {
        switch status {
        case 429: ObjectStorageError(.throttled, message)
        case 500...: ObjectStorageError(.unavailable, message)
        default: ObjectStorageError(.expiredCredentials, "\(message); check the role, its trust and the token")
        }
    }

    /// Credentials from an answer's fields; each must be there.
    static func credentials(
        _ id: String?, _ secret: String?, _ token: String?, _ end: String?, from source: String
    ) throws(ObjectStorageError) -> AWSCredentials {
        guard let id, let secret, !id.isEmpty, !secret.isEmpty else {
            throw ObjectStorageError(.expiredCredentials, "\(source) answers without keys; check its configuration")
        }
        var expiration: Timestamp?
        if let end {
            guard let time = CalendarTime.parse(rfc3339: end) else {
                throw ObjectStorageError(
                    .expiredCredentials,
                    "\(source) gives \(ServerText.line(end)) as the end of its credentials, which is no time")
            }
            expiration = time
        }
        return AWSCredentials(accessKeyID: id, secretAccessKey: secret, sessionToken: token, expiration: expiration)
    }
}
