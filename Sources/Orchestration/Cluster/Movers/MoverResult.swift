internal import Basics
package import Kubernetes
package import Workloads

/// What a mover says at its end: its container's termination message, JSON of at most 4 KiB.
package struct MoverResult: Sendable, Equatable {
    /// The exit status of the journey; the process's own is 0 for `partial` too, which nobody should run again.
    package var status: ExitStatus
    /// The error's word for programs and its line; empty when it went well.
    package var kind = ""
    package var error = ""
    /// The snapshot that was made or restored.
    package var snapshot = ""
    package var contentDigest = ""
    package var files: UInt64 = 0
    package var bytes: UInt64 = 0
    /// Bytes that were new to the repository, and what they took there.
    package var bytesNew: UInt64 = 0
    package var bytesStored: UInt64 = 0
    /// Files that were read back and compared; nil when none were to be.
    package var verified: UInt64?
    /// How many problems there were, and the first of them, a line each.
    package var problems: UInt64 = 0
    package var remarks: [String] = []
    /// The newest complete checkpoint that was seen.
    package var checkpoint: SeenCheckpoint?

    package init(_ status: ExitStatus) { self.status = status }

    /// An end without success.
    package init(_ error: JourneyError) {
        status = error.status
        kind = error.kind
        self.error = error.message
    }

    /// Whether nobody needs to try again: what failed would fail again.
    package var isFinal: Bool {
        switch status {
        case .done, .partial, .noRepository, .wrongKey, .integrity, .noSpace, .checkpointTorn, .usage: true
        default: false
        }
    }

    /// Whether something was moved, if perhaps not all.
    var isMoved: Bool { status == .done || status == .partial }

    /// Why it is no success, on one line; nil where it is one. What was done in part is none.
    package var failure: String? {
        switch status {
        case .done: return nil
        case .partial:
            let first = remarks.first.map { ", the first: \($0)" } ?? ""
            return "not all data was moved: \(problems) problems\(first)"
        default: return error.isEmpty ? "the mover failed" : error
        }
    }

    /// Bytes that the kubelet takes.
    package static let maximumBytes = 4096
    /// Bytes for one of many on an object, whose annotations have 256 KiB: 64 shares at most.
    static let maximumShareBytes = 3072

    /// The message. What is too long loses remarks, then the end of the error.
    package var text: [UInt8] { text(maximumBytes: Self.maximumBytes) }

    /// As above, in fewer bytes: at least 1000.
    func text(maximumBytes: Int) -> [UInt8] {
        var copy = self
        while true {
            let text = copy.json.serialized(escapingHTML: false)
            if text.count <= maximumBytes { return text }
            if !copy.remarks.isEmpty {
                copy.remarks.removeLast()
            } else if copy.error.count > 200 {
                copy.error = "\(copy.error.prefix(copy.error.count / 2))…"
            } else {
                // A path of a checkpoint, at most.
                copy.checkpoint = nil
                copy.error = String(copy.error.prefix(copy.error.count / 2))
            }
        }
    }

    /// All of it.
    package var json: JSONValue {
        var object = JSONObject()
        object["status"] = .integer(status.rawValue)
        if !kind.isEmpty { object["kind"] = .string(kind) }
        if !error.isEmpty { object["error"] = .string(error) }
        if !snapshot.isEmpty { object["snapshot"] = .string(snapshot) }
        if !contentDigest.isEmpty { object["content_digest"] = .string(contentDigest) }
        object["files"] = .integer(files)
        object["bytes"] = .integer(bytes)
        object["bytes_new"] = .integer(bytesNew)
        object["bytes_stored"] = .integer(bytesStored)
        if let verified { object["verified"] = .integer(verified) }
        object["problems"] = .integer(problems)
        if !remarks.isEmpty { object["remarks"] = .array(remarks.map { .string($0) }) }
        if let checkpoint { object["checkpoint"] = Self.json(checkpoint) }
        return .object(object)
    }

    private static func json(_ checkpoint: SeenCheckpoint) -> JSONValue {
        var object = JSONObject()
        object["path"] = .string(checkpoint.path)
        object["format"] = .string(checkpoint.format)
        if let step = checkpoint.step { object["step"] = .integer(step) }
        object["modified_ns"] = .integer(checkpoint.modified.nanoseconds)
        return .object(object)
    }

    /// What a message says; nil when it is none of ours. `claim` is where its checkpoint is.
    package init?(parsing text: String, claim: String) {
        guard let json = try? JSONValue(parsing: text, limits: .init(maximumBytes: Self.maximumBytes)),
            let status = json["status"]?.int64.flatMap({ Int32(exactly: $0) }).flatMap(ExitStatus.init(rawValue:))
        else { return nil }
        func count(_ key: String) -> UInt64 { UInt64(clamping: json[.key(key)]?.int64 ?? 0) }
        self.init(status)
        kind = json["kind"]?.string ?? ""
        error = json["error"]?.string ?? ""
        snapshot = json["snapshot"]?.string ?? ""
        contentDigest = json["content_digest"]?.string ?? ""
        files = count("files")
        bytes = count("bytes")
        bytesNew = count("bytes_new")
        bytesStored = count("bytes_stored")
        verified = json["verified"]?.int64.map { UInt64(clamping: $0) }
        problems = count("problems")
        remarks = (json["remarks"]?.array ?? []).compactMap(\.string)
        if let seen = json["checkpoint"], let path = seen["path"]?.string, let time = seen["modified_ns"]?.int64 {
            checkpoint = SeenCheckpoint(
                claim: claim, path: path, format: seen["format"]?.string ?? "", step: seen["step"]?.int64,
                modified: Timestamp(nanoseconds: time))
        }
    }
}
