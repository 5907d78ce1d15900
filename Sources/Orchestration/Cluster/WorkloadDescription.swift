package import Kubernetes
internal import Workloads

/// What a snapshot of a workload says of it: `becalm/workload.json`.
package struct WorkloadDescription: Sendable {
    /// One of its volumes.
    package struct Volume: Sendable {
        package var claim: String
        package var files: UInt64
        package var bytes: UInt64
        package var contentDigest: String
        package var problems: UInt64
        /// `snapshot` where a CSI snapshot was read, else `live`.
        package var source: String
    }

    package var namespace: String
    package var name: String
    package var apiVersion: String
    package var kind: String
    /// `jobs.batch`
    package var resource: String
    package var volumes: [Volume] = []
    /// What was asked, what answered, how long it stood still: `QuiesceRecord.json`.
    package var quiesce: JSONValue = .null
    /// What ran where.
    package var facts: JSONValue = .null
    package var remarks: [String] = []

    private static let version: Int64 = 1

    /// Of a workload that is being backed up.
    init(_ live: LiveWorkload) {
        namespace = live.namespace
        name = live.object.name
        apiVersion = live.resource.apiVersion
        kind = live.resource.kind
        resource = "\(live.resource)"
    }

    /// `train/jobs.batch/run42`
    package var reference: String { "\(namespace)/\(resource)/\(name)" }

    /// The file.
    package var json: JSONValue {
        let listed: [JSONValue] = volumes.map { volume in
            [
                "bytes": .integer(volume.bytes), "claim": .string(volume.claim),
                "content_digest": .string(volume.contentDigest), "files": .integer(volume.files),
                "problems": .integer(volume.problems), "source": .string(volume.source),
            ]
        }
        return [
            "api_version": .string(apiVersion), "facts": facts, "kind": .string(kind), "name": .string(name),
            "namespace": .string(namespace), "program": .string(Version.program), "quiesce": quiesce,
            "reference": .string(reference), "remarks": .array(remarks.map { .string($0) }),
            "resource": .string(resource), "version": .integer(Self.version), "volumes": .array(listed),
        ]
    }

    /// What the file says. Throws for one that is not ours, or newer than this program.
    init(parsing text: [UInt8]) throws(JourneyError) {
        let malformed = JourneyError(
            .failed, kind: "no_workload", "the snapshot's becalm/workload.json does not describe a workload")
        guard let json = try? JSONValue(parsing: text), let version = json["version"]?.int64 else { throw malformed }
        guard version == Self.version else {
            throw JourneyError(
                .failed, kind: "newer_version", "the snapshot's workload was described by a newer becalm: use that one")
        }
        guard let namespace = json["namespace"]?.string, let name = json["name"]?.string,
            let apiVersion = json["api_version"]?.string, let kind = json["kind"]?.string,
            let resource = json["resource"]?.string
        else { throw malformed }
        self.namespace = namespace
        self.name = name
        self.apiVersion = apiVersion
        self.kind = kind
        self.resource = resource
        quiesce = json["quiesce"] ?? .null
        facts = json["facts"] ?? .null
        remarks = (json["remarks"]?.array ?? []).compactMap(\.string)
        for element in json["volumes"]?.array ?? [] {
            guard let claim = element["claim"]?.string else { throw malformed }
            func count(_ key: String) -> UInt64 { UInt64(clamping: element[.key(key)]?.int64 ?? 0) }
            volumes.append(
                Volume(
                    claim: claim, files: count("files"), bytes: count("bytes"),
                    contentDigest: element["content_digest"]?.string ?? "", problems: count("problems"),
                    source: element["source"]?.string ?? ""))
        }
    }
}
