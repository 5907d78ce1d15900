import Basics
import Foundation
import HTTPTestServer
import HTTPTransport
import ObjectStorage
import ObjectStorageTesting
import S3ObjectStorage
import SystemPackage
import Testing

@Suite("Credentials", .timeLimit(.minutes(15)))
struct CredentialTests {
    private static let end = "2030-01-01T00:00:00Z"
    private static let json =
        "{\"AccessKeyId\":\"JSONID\",\"SecretAccessKey\":\"s3cr3t\",\"Token\":\"t0k3n\",\"Expiration\":\"\(end)\",\"Code\":\"Success\"}"

    private static func sts(_ action: String, id: String = "STSID") -> String {
        """
        <\(action)Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><\(action)Result><Credentials>
        <AccessKeyId>\(id)</AccessKeyId><SecretAccessKey>s3cr3t</SecretAccessKey><SessionToken>t0k3n</SessionToken>
        <Expiration>\(end)</Expiration></Credentials></\(action)Result></\(action)Response>
        """
    }

    /// A home directory with these files, and an environment that points to nothing else.
    private struct Home {
        let directory = Result { try TemporaryDirectory() }
        var variables: [String: String] = ["AWS_EC2_METADATA_DISABLED": "true", "PATH": "/usr/bin:/bin"]

        init(_ files: [String: String] = [:], _ more: [String: String] = [:]) throws {
            let path = try directory.get().path.string
            variables["HOME"] = path
            try FileManager.default.createDirectory(atPath: "\(path)/.aws", withIntermediateDirectories: true)
            for (name, text) in files { try text.write(toFile: "\(path)/\(name)", atomically: false, encoding: .utf8) }
            variables.merge(more.mapValues { $0.replacing("$HOME", with: path) }) { $1 }
        }
    }

    private func provider(_ home: Home, _ flags: S3Configuration.Flags = .init()) async throws -> any CredentialProvider
    {
        try await CredentialChain.provider(flags: flags, environment: home.variables, transport: CurlTransport())
    }

    private func message(_ body: () async throws -> Void) async -> (ObjectStorageError.Code, String)? {
        do {
            try await body()
            return nil
        } catch let error as ObjectStorageError {
            return (error.code, error.message)
        } catch {
            return nil
        }
    }

    @Test("Keys given explicitly come before all else, then a profile asked for, then the environment")
    func order() async throws {
        let home = try Home(
            [".aws/credentials": "[mine]\naws_access_key_id = PROFILEID\naws_secret_access_key = x\n"],
            ["AWS_ACCESS_KEY_ID": "ENVID", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"])
        let byEnvironment = try await provider(home)
        #expect(byEnvironment.source == .environment)
        let keys = try await byEnvironment.credentials()
        #expect(keys.accessKeyID == "ENVID" && keys.sessionToken == "t")
        var flags = S3Configuration.Flags()
        flags.profile = "mine"
        let byProfile = try await provider(home, flags)
        #expect(byProfile.source == .profile(name: "mine", detail: "static keys"))
        #expect(try await byProfile.credentials().accessKeyID == "PROFILEID")
        flags.credentials = AWSCredentials(accessKeyID: "GIVEN", secretAccessKey: "s")
        let given = try await provider(home, flags)
        #expect(given.source == .explicit)
        #expect(try await given.credentials().accessKeyID == "GIVEN")
    }

    @Test(
        "Nothing configured, or half of it, is told",
        arguments: [
            ([:], "no credentials for S3"),
            (["AWS_ACCESS_KEY_ID": "a"], "AWS_SECRET_ACCESS_KEY"),
            (["AWS_SECRET_ACCESS_KEY": "a"], "AWS_ACCESS_KEY_ID"),
            (["AWS_WEB_IDENTITY_TOKEN_FILE": "/x"], "AWS_ROLE_ARN"),
            (["AWS_PROFILE": "absent"], "no profile absent"),
            (["AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://10.0.0.1/x"], "neither https"),
            (["AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1.evil.example/x"], "neither https"),
        ] as [([String: String], String)])
    func incomplete(variables: [String: String], expected: String) async throws {
        let failure = await message { _ = try await provider(Home([:], variables)) }
        #expect(failure?.0 == .expiredCredentials)
        #expect(failure?.1.contains(expected) == true, "\(failure?.1 ?? "no error")")
    }

    @Test("Web identity: the token goes to STS, and is read anew each time")
    func webIdentity() async throws {
        let server = try ScriptedServer { _ in [.answer(200, [], Self.sts("AssumeRoleWithWebIdentity"))] }
        let home = try Home(
            ["token": "first+token\n"],
            [
                "AWS_WEB_IDENTITY_TOKEN_FILE": "$HOME/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r",
                "AWS_ENDPOINT_URL_STS": server.url, "AWS_ROLE_SESSION_NAME": "pod",
            ])
        let provider = try await provider(home)
        let keys = try await provider.credentials()
        #expect(keys.accessKeyID == "STSID" && keys.sessionToken == "t0k3n")
        #expect(keys.expiration == CalendarTime.parse(rfc3339: Self.end))
        let form = String(decoding: server.requests[0].body, as: UTF8.self)
        #expect(
            form
                == "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=pod&WebIdentityToken=first%2Btoken"
        )
        #expect(server.requests[0].headers["authorization"] == nil)
        _ = provider.invalidate(keys)
        let file = try #require(home.variables["HOME"]) + "/token"
        try "second".write(toFile: file, atomically: false, encoding: .utf8)
        _ = try await provider.credentials()
        #expect(String(decoding: server.requests[1].body, as: UTF8.self).hasSuffix("WebIdentityToken=second"))
    }

    @Test("A configured source that fails is told; nothing weaker is used", arguments: [403, 400, 500])
    func webIdentityRefused(status: Int) async throws {
        let text =
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized</Message></Error></ErrorResponse>"
        let server = try ScriptedServer { _ in [.answer(status, [], text)] }
        let home = try Home(
            ["token": "s3cr3t-token", ".aws/credentials": "[default]\naws_access_key_id=a\naws_secret_access_key=b\n"],
            ["AWS_WEB_IDENTITY_TOKEN_FILE": "$HOME/token", "AWS_ROLE_ARN": "arn:r", "AWS_ENDPOINT_URL_STS": server.url])
        let failure = await message { _ = try await provider(home).credentials() }
        #expect(failure?.0 == (status == 500 ? .unavailable : .expiredCredentials))
        #expect(failure?.1.contains("AccessDenied: Not authorized") == true)
        #expect(failure?.1.contains("s3cr3t") == false)
    }

    @Test("A profile's role is assumed with its source's keys, signed")
    func roleProfile() async throws {
        let server = try ScriptedServer { request in
            let form = String(decoding: request.body, as: UTF8.self)
            return [.answer(200, [], Self.sts("AssumeRole", id: form.contains("role%2Fouter") ? "OUTER" : "INNER"))]
        }
        let config = """
            # a comment
            [profile outer]
            role_arn = arn:aws:iam::1:role/outer
            source_profile = inner
            external_id = ext
            duration_seconds = 900
            [profile inner]
            role_arn = arn:aws:iam::1:role/inner
            source_profile = base
            """
        let home = try Home(
            [
                ".aws/config": config,
                ".aws/credentials": "[base]\naws_access_key_id = BASEID\naws_secret_access_key = s\n",
            ],
            ["AWS_PROFILE": "outer", "AWS_ENDPOINT_URL_STS": server.url, "AWS_REGION": "eu-west-3"])
        let provider = try await provider(home)
        #expect(provider.source == .profile(name: "outer", detail: "role arn:aws:iam::1:role/outer"))
        #expect(try await provider.credentials().accessKeyID == "OUTER")
        let requests = server.requests
        #expect(requests.count == 2)
        #expect(requests[0].headers["authorization"]?.contains("Credential=BASEID/") == true)
        #expect(requests[0].headers["authorization"]?.contains("/eu-west-3/sts/aws4_request") == true)
        #expect(requests[1].headers["authorization"]?.contains("Credential=INNER/") == true)
        #expect(requests[1].headers["x-amz-security-token"] == "t0k3n")
        #expect(String(decoding: requests[1].body, as: UTF8.self).hasSuffix("ExternalId=ext&DurationSeconds=900"))
    }

    @Test(
        "Profiles that lead nowhere are told",
        arguments: [
            (
                "[default]\nrole_arn = r\nsource_profile = b\n[profile b]\nrole_arn = r\nsource_profile = default\n",
                "circle"
            ),
            ("[default]\nrole_arn = r\nsource_profile = b\n", "missing"),
            ("[default]\nrole_arn = r\n", "source_profile"),
            ("[default]\nrole_arn = r\nmfa_serial = m\n", "second factor"),
            ("[default]\nsso_start_url = u\n", "SSO"),
            ("[default]\naws_access_key_id = a\n", "one key"),
            ("[default]\nregion = r\n", "no credentials for S3"),
        ])
    func brokenProfiles(config: String, expected: String) async throws {
        let failure = await message { _ = try await provider(Home([".aws/config": config])).credentials() }
        #expect(failure?.0 == .expiredCredentials)
        #expect(failure?.1.contains(expected) == true, "\(failure?.1 ?? "no error")")
    }

    @Test("A process prints credentials; one that fails, hangs on to nothing or prints rubbish is told")
    func process() async throws {
        func result(_ command: String) async throws -> AWSCredentials {
            let config = "[profile p]\ncredential_process = \(command)\n"
            return try await provider(Home([".aws/config": config], ["AWS_PROFILE": "p", "X": "FROMENV"])).credentials()
        }
        let keys = try await result(
            #"printf '{"Version":1,"AccessKeyId":"%s","SecretAccessKey":"s","SessionToken":"t"}' "$X""#)
        #expect(keys.accessKeyID == "FROMENV" && keys.sessionToken == "t" && keys.expiration == nil)
        for (command, expected) in [
            ("echo s3cr3t; exit 7", "exit status 7"), ("echo s3cr3t", "JSON"), ("kill -9 $$", "signal 9"),
            ("printf '{}'", "without keys"), ("yes", "64 KiB"),
        ] {
            let failure = await message { _ = try await result(command) }
            #expect(failure?.0 == .expiredCredentials)
            #expect(failure?.1.contains(expected) == true, "\(failure?.1 ?? "no error")")
            #expect(failure?.1.contains("s3cr3t") == false)
        }
    }

    @Test("A container's service gets the token from the file of the moment")
    func container() async throws {
        let server = try ScriptedServer { request in
            request.headers["authorization"]?.hasPrefix("token-") == true
                ? [.answer(200, [], Self.json)] : [.answer(401)]
        }
        let home = try Home(
            ["token": "token-1"],
            [
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": "\(server.url)/creds?q=1",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "$HOME/token",
            ])
        let provider = try await provider(home)
        #expect(provider.source == .container(address: "\(server.url)/creds"))
        let keys = try await provider.credentials()
        #expect(keys.accessKeyID == "JSONID" && keys.sessionToken == "t0k3n")
        _ = provider.invalidate(keys)
        try "token-2\n".write(
            toFile: try #require(home.variables["HOME"]) + "/token", atomically: false, encoding: .utf8)
        _ = try await provider.credentials()
        #expect(server.requests.map { $0.headers["authorization"] } == ["token-1", "token-2"])
        #expect(server.requests[0].target == "/creds?q=1")
    }

    @Test("The instance's role, by token; a service that does not answer is given up at once")
    func instanceMetadata() async throws {
        let server = try ScriptedServer { request in
            switch (request.method, request.target) {
            case ("PUT", "/latest/api/token"): return [.answer(200, [], "imds-token")]
            case ("GET", "/latest/meta-data/iam/security-credentials/"): return [.answer(200, [], "my-role\n")]
            case ("GET", "/latest/meta-data/iam/security-credentials/my-role"):
                return [
                    request.headers["x-aws-ec2-metadata-token"] == "imds-token"
                        ? .answer(200, [], Self.json) : .answer(401)
                ]
            default: return [.answer(404)]
            }
        }
        let home = try Home(
            [:], ["AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url])
        let provider = try await provider(home)
        #expect(provider.source == .instanceMetadata)
        #expect(try await provider.credentials().accessKeyID == "JSONID")
        let silent = try ScriptedServer { _ in [.stall] }
        let nowhere = try Home(
            [:], ["AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": silent.url])
        let failure = await message { _ = try await self.provider(nowhere).credentials() }
        #expect(failure?.0 == .expiredCredentials)
        #expect(failure?.1.contains("set AWS_ACCESS_KEY_ID") == true)
    }

    // MARK: Renewal

    private static func keys(_ number: Int, _ end: Timestamp?) -> AWSCredentials {
        AWSCredentials(accessKeyID: "id\(number)", secretAccessKey: "s", expiration: end)
    }

    @Test("Credentials are renewed five minutes before they end, earlier by the jitter", arguments: [0.0, 1.0])
    func renewal(random: Double) async throws {
        let clock = ManualWallClock()
        let start = clock.now()
        let count = Monitor(0)
        let provider = RefreshingCredentials(source: .instanceMetadata, clock: clock, random: { random }) {
            () async throws(ObjectStorageError) in
            let number = count.withLock { count in
                count += 1
                return count
            }
            return Self.keys(number, start.advanced(bySeconds: 3600 * Double(number)))
        }
        let margin = 300 + 60 * random
        #expect(try await provider.credentials().accessKeyID == "id1")
        clock.advance(bySeconds: 3600 - margin - 1)
        #expect(try await provider.credentials().accessKeyID == "id1")
        clock.advance(bySeconds: 2)
        #expect(try await provider.credentials().accessKeyID == "id2")
        #expect(count.withLock { $0 } == 2)
    }

    @Test("While a renewal fails the old ones serve as long as they last, with pauses between the tries")
    func failedRenewal() async throws {
        let clock = ManualWallClock()
        let end = clock.now().advanced(bySeconds: 3600)
        let count = Monitor(0)
        let provider = RefreshingCredentials(source: .instanceMetadata, clock: clock, random: { 0 }) {
            () async throws(ObjectStorageError) in
            let number = count.withLock { count in
                count += 1
                return count
            }
            if number > 1 { throw ObjectStorageError(.unavailable, "broken") }
            return Self.keys(number, end)
        }
        _ = try await provider.credentials()
        clock.advance(bySeconds: 3301)
        for _ in 0..<5 { #expect(try await provider.credentials().accessKeyID == "id1") }
        #expect(count.withLock { $0 } == 2)
        clock.advance(bySeconds: 31)
        _ = try await provider.credentials()
        #expect(count.withLock { $0 } == 3)
        clock.advance(bySeconds: 300)
        let failure = await message { _ = try await provider.credentials() }
        #expect(failure?.0 == .unavailable)
    }

    @Test("Of fifty that ask at once one fetches; its failure is all of theirs, and the next try is new")
    func singleFlight() async throws {
        let count = Monitor(0)
        let gate = Monitor(false)
        let provider = RefreshingCredentials(source: .instanceMetadata) { () async throws(ObjectStorageError) in
            let number = count.signal { count in
                count += 1
                return count
            }
            do {
                _ = try await BlockingBridge.offload(name: "gate") { .success(gate.wait { $0 ? true : nil }) }
            } catch {
                throw ObjectStorageError(.failed, "no gate")
            }
            if number == 1 { throw ObjectStorageError(.unavailable, "first") }
            return Self.keys(number, nil)
        }
        let results = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    do { return try await provider.credentials().accessKeyID } catch { return "\(error)" }
                }
            }
            try await BlockingBridge.offload(name: "gate") {
                _ = count.wait { $0 > 0 ? true : nil }
                return .success(gate.signal { $0 = true })
            }
            var results: Set<String> = []
            for try await result in group { results.insert(result) }
            return results
        }
        // Those that came after the failure had ended fetch once more, together.
        #expect(results.isSubset(of: ["first", "id2"]) && results.contains("first"))
        #expect(count.withLock { $0 } <= 2)
        #expect(try await provider.credentials().accessKeyID == "id2")
    }
}
