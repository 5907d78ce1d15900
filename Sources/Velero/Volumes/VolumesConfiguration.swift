internal import Basics
internal import ObjectStorage
internal import Repository
internal import S3ObjectStorage
internal import Snapshots
internal import SystemPackage

/// The `config` of a VolumeSnapshotLocation, understood and checked. Nothing is looked up for it: no file, no network.
struct VolumesConfiguration: Sendable {
    /// Where the repository is.
    enum Place: Hashable, Sendable {
        /// Absolute, raw.
        case directory([UInt8])
        case s3(S3Location)
    }

    /// What opens the repository.
    enum Key: Hashable, Sendable {
        case key(KeySource)
        case password(KeySource)
    }

    /// How S3 is spoken to; keys as in the config of `becalm.io/s3`.
    struct S3: Hashable, Sendable {
        var region: String?
        var url: String?
        var usesPathStyle: Bool?
        var profile: String?
        var credentialsFile: String?
        var caCert: String?
        var skipsVerification = false
    }

    /// What a snapshot may lack and still be one.
    enum Tolerance: String, Sendable, CaseIterable {
        case none
        /// Files that changed or vanished while they were read are as they were read, or left out.
        case changes
        /// What cannot be read is left out, too.
        case unreadable
    }

    /// A directory in which new volumes are made, as their PersistentVolumes say it.
    struct RestoreRoot: Hashable, Sendable {
        var space: VolumeRoots.Space
        /// As it was written; empty for a node's path.
        var server: String
        var path: VolumePath
    }

    var place = Place.directory([])
    var key = Key.key(.file(""))
    var s3 = S3()
    var roots = VolumeRoots(roots: [])
    var restoreRoots: [RestoreRoot] = []
    /// The node whose directories are mounted; nil when they are the same on every node.
    var node: String?
    var memoryBytes = MemoryPlan.minimumBytes
    var cacheDirectory: FilePath?
    var createsRepository = false
    var tolerance = Tolerance.none

    /// Every key there is.
    static let keys: Set<String> = [
        "repository", "repositoryKeyFile", "repositoryPasswordFile", "repositoryKeySecret", "repositoryPasswordSecret",
        "createRepository", "region", "s3Url", "s3ForcePathStyle", "profile", "credentialsFile", "caCert",
        "insecureSkipTLSVerify", "nodeRoots", "nfsRoots", "nodeName", "restoreRoots", "memory", "cacheDirectory",
        "tolerate",
    ]
    private static let s3Keys = ["region", "s3Url", "s3ForcePathStyle", "profile", "caCert", "insecureSkipTLSVerify"]

    /// Understands `config`. An empty value counts as none. Throws `invalidArgument`, which names the key.
    init(_ config: [String: String], _ environment: PluginEnvironment) throws(VeleroError) {
        let unknown = config.keys.filter { !Self.keys.contains($0) }.sorted()
        if let first = unknown.first {
            throw Self.wrong(
                PathText.display(Array(first.utf8)),
                "is unknown to becalm.io/volumes: correct or remove it (known are \(Self.keys.sorted().joined(separator: ", ")))"
            )
        }
        let values = config.filter { !$0.value.isEmpty }
        try readRepository(values)
        try readKey(values)
        try readS3(values)
        try readRoots(values, environment)
        try readRestoreRoots(values)
        try readLimits(values, environment)
    }

    /// The repository alone, as the ConfigMap `source` names it for movers: one that pods of the cluster reach.
    init(
        ofMovers values: [String: String], source: String, _ environment: PluginEnvironment
    ) throws(VeleroError) {
        do throws(VeleroError) {
            try readRepository(values)
            guard case .s3 = place else {
                throw Self.wrong("repository", "is a directory, which pods do not see: name s3://BUCKET/PREFIX")
            }
            try readKey(values)
            try readS3(values)
            try readLimits(values, environment)
        } catch {
            let text =
                error.message.hasPrefix(Self.place) ? String(error.message.dropFirst(Self.place.count)) : error.message
            throw VeleroError(error.code, source + text, cause: error)
        }
    }

    /// What messages begin with.
    private static let place = "the volume snapshot location's config"

    private static func wrong(_ key: String, _ what: String) -> VeleroError {
        VeleroError(.invalidArgument, "\(place): \(key) \(what)")
    }

    /// A value in a message.
    private static func shown(_ value: some StringProtocol) -> String {
        "'\(PathText.display(Array(value.prefix(200).utf8)))'"
    }

    // MARK: Keys

    private mutating func readRepository(_ values: [String: String]) throws(VeleroError) {
        guard let text = values["repository"] else {
            throw Self.wrong("repository", "is missing: name a directory of this pod, or s3://BUCKET/PREFIX")
        }
        if text.hasPrefix("s3://") {
            do {
                place = .s3(try S3Location.parse(text))
            } catch {
                throw Self.wrong("repository", "makes no sense: \(error)")
            }
            return
        }
        guard case .path(let path) = VolumePath.parse(text), !path.components.isEmpty else {
            throw Self.wrong(
                "repository",
                "is \(Self.shown(text)): name a directory of this pod by its absolute path, or s3://BUCKET/PREFIX")
        }
        place = .directory(Array("\(path)".utf8))
    }

    private mutating func readKey(_ values: [String: String]) throws(VeleroError) {
        let names = ["repositoryKeyFile", "repositoryPasswordFile", "repositoryKeySecret", "repositoryPasswordSecret"]
        let given = names.filter { values[$0] != nil }
        guard let name = given.first, let value = values[name], given.count == 1 else {
            throw Self.wrong(
                names.joined(separator: ", "),
                given.isEmpty
                    ? "are all missing: give one, for nothing is stored unencrypted"
                    : "exclude each other, and \(given.joined(separator: " and ")) are given: leave one")
        }
        if name.hasSuffix("File") {
            guard value.hasPrefix("/") else {
                throw Self.wrong(name, "is \(Self.shown(value)): name a file of this pod by its absolute path")
            }
            key = name == "repositoryKeyFile" ? .key(.file(value)) : .password(.file(value))
            return
        }
        guard let secret = KeySource.secret(value) else {
            throw Self.wrong(
                name, "is \(Self.shown(value)): name a Secret of Velero's namespace and a key in it, as NAME/KEY")
        }
        key = name == "repositoryKeySecret" ? .key(secret) : .password(secret)
    }

    private mutating func readS3(_ values: [String: String]) throws(VeleroError) {
        // Velero itself adds the credentials' file to any location that has some.
        if case .directory = place, let stray = Self.s3Keys.first(where: { values[$0] != nil }) {
            throw Self.wrong(stray, "is for repositories at s3://BUCKET/PREFIX: remove it")
        }
        s3.region = values["region"]
        s3.url = values["s3Url"]
        if let url = s3.url {
            do { _ = try S3Endpoint.parse(url) } catch { throw Self.wrong("s3Url", "makes no sense: \(error)") }
        }
        s3.usesPathStyle = try Self.flag("s3ForcePathStyle", values)
        s3.profile = values["profile"]
        s3.credentialsFile = values["credentialsFile"]
        s3.caCert = values["caCert"]
        if let pem = s3.caCert, !pem.contains("-----BEGIN CERTIFICATE-----") {
            throw Self.wrong("caCert", "holds no certificate in PEM")
        }
        s3.skipsVerification = try Self.flag("insecureSkipTLSVerify", values) ?? false
    }

    private mutating func readRoots(
        _ values: [String: String], _ environment: PluginEnvironment
    ) throws(VeleroError) {
        for entry in Self.list(values["nodeRoots"]) {
            // One path alone: the node's whole file system is mounted there.
            let text = entry.contains("=") ? entry : "/=\(entry)"
            let (path, mount) = try Self.mapping(text, "nodeRoots", "PATH or HOSTPATH=PATH")
            try add(.init(space: .node, path: path, mount: mount), "nodeRoots")
        }
        for entry in Self.list(values["nfsRoots"]) {
            let form = "SERVER:/EXPORT=PATH"
            guard let colon = entry.firstRange(of: ":/"), VolumeID.isServer(String(entry[..<colon.lowerBound])) else {
                throw Self.wrong("nfsRoots", "has \(Self.shown(entry)) in it: write \(form)")
            }
            let server = entry[..<colon.lowerBound].lowercased()
            let (path, mount) = try Self.mapping(entry[entry.index(after: colon.lowerBound)...], "nfsRoots", form)
            try add(.init(space: .server(server), path: path, mount: mount), "nfsRoots")
        }
        guard !roots.roots.isEmpty else {
            throw Self.wrong(
                "nodeRoots and nfsRoots",
                "are missing: say where in this pod the volumes are, as nodeRoots: /host or nfsRoots: SERVER:/EXPORT=/mnt/export"
            )
        }
        guard roots.roots.contains(where: { $0.space == .node }) else { return }
        guard let name = values["nodeName"] ?? environment.variable("NODE_NAME") else {
            throw Self.wrong(
                "nodeName",
                "is missing: nodeRoots are directories of one node, so name it here or in the variable NODE_NAME, or say '*' where every node has the same directories"
            )
        }
        node = name == "*" ? nil : name
    }

    private mutating func add(_ root: VolumeRoots.Root, _ key: String) throws(VeleroError) {
        guard !roots.roots.contains(where: { $0.space == root.space && $0.path == root.path }) else {
            throw Self.wrong(key, "names \(root.path) twice")
        }
        roots.roots.append(root)
    }

    private mutating func readRestoreRoots(_ values: [String: String]) throws(VeleroError) {
        for entry in Self.list(values["restoreRoots"]) {
            var (server, text) = ("", entry[...])
            if !entry.hasPrefix("/"), let colon = entry.firstRange(of: ":/") {
                server = String(entry[..<colon.lowerBound])
                text = entry[entry.index(after: colon.lowerBound)...]
            }
            guard case .path(let path) = VolumePath.parse(String(text)), server.isEmpty || VolumeID.isServer(server)
            else {
                throw Self.wrong(
                    "restoreRoots",
                    "has \(Self.shown(entry)) in it: write a node's path, or SERVER:/PATH, as a PersistentVolume says it"
                )
            }
            let space: VolumeRoots.Space = server.isEmpty ? .node : .server(server.lowercased())
            let volume = VolumeID(kind: server.isEmpty ? .hostPath : .nfs, server: server, path: path)
            guard roots.holds(volume) else {
                throw Self.wrong(
                    "restoreRoots", "has \(Self.shown(entry)) in it, which lies below none of nodeRoots and nfsRoots")
            }
            guard !restoreRoots.contains(where: { $0.space == space }) else {
                throw Self.wrong(
                    "restoreRoots",
                    "has two entries for \(server.isEmpty ? "the node" : "the server \(server)"): leave one")
            }
            restoreRoots.append(RestoreRoot(space: space, server: server, path: path))
        }
    }

    private mutating func readLimits(
        _ values: [String: String], _ environment: PluginEnvironment
    ) throws(VeleroError) {
        if let text = values["memory"] {
            guard let bytes = Self.quantity(text), bytes >= MemoryPlan.minimumBytes, bytes <= 1 << 40 else {
                throw Self.wrong(
                    "memory",
                    "is \(Self.shown(text)): write at least \(MemoryPlan.minimumBytes >> 20)Mi, as 128Mi or 1Gi")
            }
            memoryBytes = bytes
        }
        createsRepository = try Self.flag("createRepository", values) ?? false
        if let text = values["tolerate"] {
            guard let chosen = Tolerance(rawValue: text) else {
                let words = Tolerance.allCases.map(\.rawValue).joined(separator: ", ")
                throw Self.wrong("tolerate", "is \(Self.shown(text)): write one of \(words)")
            }
            tolerance = chosen
        }
        switch values["cacheDirectory"] {
        case "none"?: cacheDirectory = nil
        case let text?:
            guard text.hasPrefix("/") else {
                throw Self.wrong("cacheDirectory", "is \(Self.shown(text)): write an absolute path, or 'none'")
            }
            cacheDirectory = FilePath(text)
        case nil:
            let scratch = environment.variable("VELERO_SCRATCH_DIR") ?? environment.variable("TMPDIR") ?? "/tmp"
            cacheDirectory = FilePath(scratch).appending("becalm")
        }
    }

    // MARK: Values

    private static func list(_ text: String?) -> [String] {
        (text ?? "").split(separator: ",").map { entry in
            String(entry.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
    }

    private static func mapping(
        _ text: some StringProtocol, _ key: String, _ form: String
    ) throws(VeleroError) -> (VolumePath, VolumePath) {
        let parts = text.split(separator: "=", omittingEmptySubsequences: false)
        guard parts.count == 2, case .path(let path) = VolumePath.parse(String(parts[0])),
            case .path(let mount) = VolumePath.parse(String(parts[1])), !mount.components.isEmpty
        else { throw wrong(key, "has \(shown(text)) in it: write \(form), each an absolute path without '..'") }
        return (path, mount)
    }

    /// Nil when there is none.
    private static func flag(_ key: String, _ values: [String: String]) throws(VeleroError) -> Bool? {
        guard let text = values[key] else { return nil }
        guard let flag = GoBool.parse(text) else { throw wrong(key, "is \(shown(text)): write \"true\" or \"false\"") }
        return flag
    }

    /// A quantity of Kubernetes in bytes: `134217728`, `128Mi`, `1G`; nil for anything else.
    private static func quantity(_ text: String) -> Int? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let scales = [
            "": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 1000, "M": 1_000_000, "G": 1_000_000_000,
        ]
        guard let number = Int(digits), let scale = scales[String(text.dropFirst(digits.count))] else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: scale)
        return overflow ? nil : bytes
    }
}
