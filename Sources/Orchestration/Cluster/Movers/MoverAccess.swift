internal import Kubernetes

/// How a mover gets at the repository: what its Secret holds beside the key. Prints nothing of it.
package struct MoverAccess: Sendable, CustomStringConvertible, CustomReflectable {
    /// `s3://bucket/prefix`
    package var repository: String
    /// An S3 server's URL; nil for what the environment says.
    package var endpoint: String?
    package var region: String?
    package var usesPathStyle: Bool?
    /// Variables that the mover works with: credentials.
    package var environment: [String: String]
    /// Further files, by the name that they have in the Secret: what variables name by `file(_:)`.
    package var files: [String: [UInt8]]

    package init(
        repository: String, endpoint: String? = nil, region: String? = nil, usesPathStyle: Bool? = nil,
        environment: [String: String] = [:], files: [String: [UInt8]] = [:]
    ) {
        self.repository = repository
        self.endpoint = endpoint
        self.region = region
        self.usesPathStyle = usesPathStyle
        self.environment = environment
        self.files = files
    }

    package var description: String { "access to \(repository)" }
    /// Says nothing of credentials.
    package var customMirror: Mirror { Mirror(self, children: ["repository": repository]) }

    /// The names of the description and of the key among the Secret's entries.
    package static let descriptionFile = "access.json"
    package static let keyFile = "key"

    /// Variables by which storage is found and opened that a mover gets from whoever makes it.
    package static let variables = [
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_PROFILE",
    ]

    /// What a variable says that means a file of the Secret, whichever directory that is mounted at.
    package static func file(_ name: String) -> String { "becalm-access:\(name)" }

    /// Bytes that a Secret may have in all (1 MiB, less what is not ours).
    package static let maximumBytes = 900 << 10

    /// The Secret's entries, with the key. Throws a usage error for more than a Secret holds.
    package func entries(key: [UInt8]) throws(JourneyError) -> [String: [UInt8]] {
        var json = JSONObject()
        json["repository"] = .string(repository)
        if let endpoint { json["endpoint"] = .string(endpoint) }
        if let region { json["region"] = .string(region) }
        if let usesPathStyle { json["path_style"] = .bool(usesPathStyle) }
        var variables = JSONObject()
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) { variables[name] = .string(value) }
        json["environment"] = .object(variables)
        var entries = files
        entries[Self.descriptionFile] = JSONValue.object(json).serialized()
        entries[Self.keyFile] = key
        let total = entries.reduce(0) { $0 + $1.key.utf8.count + $1.value.count }
        guard total <= Self.maximumBytes else {
            throw .usage("the credentials for the storage have \(total) bytes, more than a Secret holds")
        }
        return entries
    }

    /// What the entry `descriptionFile` says, which is at `directory`: files that variables mean are named in full.
    package init(parsing text: [UInt8], directory: String) throws(JourneyError) {
        let malformed = JourneyError.usage("\(directory)/\(Self.descriptionFile) does not say where the repository is")
        guard let json = try? JSONValue(parsing: text, limits: .init(maximumBytes: Self.maximumBytes)),
            let repository = json["repository"]?.string
        else { throw malformed }
        var environment: [String: String] = [:]
        for member in json["environment"]?.object?.members ?? [] {
            guard let value = member.value.string else { throw malformed }
            let prefix = Self.file("")
            environment[member.key] =
                value.hasPrefix(prefix) ? "\(directory)/\(value.dropFirst(prefix.count))" : value
        }
        self.init(
            repository: repository, endpoint: json["endpoint"]?.string, region: json["region"]?.string,
            usesPathStyle: json["path_style"]?.bool, environment: environment)
    }
}
