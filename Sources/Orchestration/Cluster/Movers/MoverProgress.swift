package import Kubernetes

/// How far a mover is: a line of its log, and an annotation of its Job.
package struct MoverProgress: Sendable, Equatable {
    package var files: UInt64 = 0
    /// 0 while it is not known.
    package var filesTotal: UInt64 = 0
    package var bytes: UInt64 = 0
    package var bytesTotal: UInt64 = 0

    package init() {}

    /// What several that share a volume have done together. Totals are known when all of them know theirs.
    init(sum parts: [MoverProgress]) {
        for part in parts {
            files = files.addingUpToMaximum(part.files)
            bytes = bytes.addingUpToMaximum(part.bytes)
        }
        guard parts.allSatisfy({ $0.filesTotal > 0 || $0.bytesTotal > 0 }) else { return }
        for part in parts {
            filesTotal = filesTotal.addingUpToMaximum(part.filesTotal)
            bytesTotal = bytesTotal.addingUpToMaximum(part.bytesTotal)
        }
    }

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

extension UInt64 {
    /// The sum of what pods say, who are not to be believed, or the largest number that a line or a result can tell.
    func addingUpToMaximum(_ other: UInt64) -> UInt64 {
        let (sum, isOver) = addingReportingOverflow(other)
        return isOver ? UInt64(Int64.max) : Swift.min(sum, UInt64(Int64.max))
    }
}
