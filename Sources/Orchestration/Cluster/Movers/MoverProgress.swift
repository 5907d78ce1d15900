package import Kubernetes

/// How far a mover is: a line of its log, and an annotation of its Job.
package struct MoverProgress: Sendable, Equatable {
    package var files: UInt64 = 0
    /// 0 while it is not known.
    package var filesTotal: UInt64 = 0
    package var bytes: UInt64 = 0
    package var bytesTotal: UInt64 = 0

    package init() {}

    /// What a line says; nil for a line that tells of something else.
    package init?(_ json: JSONValue) {
        guard json["type"] == "progress" else { return nil }
        func count(_ key: String) -> UInt64 { UInt64(clamping: json[.key(key)]?.int64 ?? 0) }
        files = count("files")
        filesTotal = count("files_total")
        bytes = count("bytes")
        bytesTotal = count("bytes_total")
    }

    /// The line.
    package var json: JSONValue {
        [
            "bytes": .integer(bytes), "bytes_total": .integer(bytesTotal), "files": .integer(files),
            "files_total": .integer(filesTotal), "type": "progress",
        ]
    }
}
