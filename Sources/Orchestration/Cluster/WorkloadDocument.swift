internal import Kubernetes
internal import Workloads

/// What a snapshot of a workload says of itself: `becalm/workload.json`.
///
/// Version 1. Members may be added without a new version; none changes its meaning or goes away.
struct WorkloadDocument: Sendable {
    /// Path components in the snapshot.
    static let path = ["becalm", "workload.json"]
    private static let format = "becalm-workload"
    private static let version: Int64 = 1

    var workload: WorkloadReference
    var json: JSONValue
    /// The claims whose data is in the snapshot, at `volumePath`.
    var volumes: [String]
    /// Bytes of their files, holes included, by claim; empty in snapshots of early versions.
    var bytes: [String: UInt64]
    /// The claims whose data was left out as their users want it.
    var leftOut: [String]

    /// Where the data of a claim is in the snapshot.
    static func volumePath(_ namespace: String, _ claim: String) -> [String] { ["volumes", namespace, claim] }

    /// What is to be stored; a claim that several movers have shared counts once.
    init(
        workload: WorkloadReference, record: QuiesceRecord, facts: JSONValue,
        volumes: [(claim: String, bytes: UInt64)], leftOut: [String], remarks: [String]
    ) {
        self.workload = workload
        self.leftOut = leftOut
        (self.volumes, bytes) = ([], [:])
        for (claim, bytes) in volumes {
            if self.bytes[claim] == nil { self.volumes.append(claim) }
            self.bytes[claim, default: 0] &+= bytes
        }
        var sizes = JSONObject()
        for claim in self.volumes { sizes[claim] = .integer(self.bytes[claim] ?? 0) }
        json = [
            "facts": facts, "format": .string(Self.format), "left_out": .array(leftOut.map { .string($0) }),
            "quiesce": record.json, "remarks": .array(remarks.map { .string($0) }),
            "version": .integer(Self.version), "volume_bytes": .object(sizes),
            "volumes": .array(self.volumes.map { .string($0) }), "workload": .string("\(workload)"),
        ]
    }

    /// As it is stored.
    var file: WorkloadCapture.File {
        WorkloadCapture.File(path: Self.path, content: json.serialized(escapingHTML: false))
    }

    /// What a snapshot says. Throws a usage error for one that is of no workload.
    init(_ files: [WorkloadCapture.File], snapshot: String) throws(JourneyError) {
        guard let file = files.first(where: { $0.path == Self.path }) else {
            throw .usage("snapshot \(snapshot) is of no workload: restore it into a directory with --target")
        }
        guard let json = try? JSONValue(parsing: file.content), json["format"]?.string == Self.format,
            let workload = try? WorkloadReference(parsing: json["workload"]?.string ?? ""),
            let volumes = json["volumes"]?.array
        else {
            throw JourneyError(
                .integrity, kind: "damaged", "snapshot \(snapshot): \(Self.path.joined(separator: "/")) cannot be read")
        }
        guard json["version"]?.int64 == Self.version else {
            throw JourneyError(
                .failed, kind: "newer_version",
                "snapshot \(snapshot) was made by a newer Becalm: restore it with that, or into a directory with --target"
            )
        }
        self.workload = workload
        self.json = json
        self.volumes = volumes.compactMap(\.string)
        bytes = [:]
        for member in json["volume_bytes"]?.object?.members ?? [] {
            bytes[member.key] = member.value.int64.map { UInt64(clamping: $0) }
        }
        leftOut = (json["left_out"]?.array ?? []).compactMap(\.string)
    }
}
