internal import Basics
internal import Checkpoints
internal import RepositoryFormat

/// A file that is a checkpoint or a model by itself, and was complete when its directory was judged.
struct StateFile: Sendable {
    /// Raw and absolute.
    var path: [UInt8]
    /// The state's path in the snapshot.
    var state: String
    /// As it was when it was judged: bytes, and nanoseconds since 1970.
    var size: UInt64
    var modified: Int64
    let options: SurveyOptions

    static let changed = "it changed while it was read: it was being written"

    /// Why what was read is not what was judged; nil when it is, or is complete as well. Blocks.
    func reasonToLeaveOut(_ metadata: FileMetadata) -> String? {
        if metadata.size == size, metadata.modified.nanoseconds == modified { return nil }
        // Another one has taken its place: it must be complete itself, and still be the one that was read.
        guard let slash = path.lastIndex(of: UInt8(ascii: "/")),
            let place = String(validating: path[..<slash], as: UTF8.self),
            let name = String(validating: path[(slash + 1)...], as: UTF8.self)
        else { return nil }
        do {
            let tree = SingleFileTree(try LocalTree(place.isEmpty ? "/" : place), file: name)
            let findings = try Survey(tree, options: options).findings(at: "")
            guard let finding = findings.first else { return nil }
            guard finding.judgement != .torn, finding.judgement != .empty else {
                return "it was written again after it was judged, and is \(finding.judgement.rawValue) now"
            }
            guard let now = try tree.entry(name), now.size == metadata.size,
                now.modified == metadata.modified.nanoseconds
            else { return Self.changed }
            return nil
        } catch {
            return "it changed after it was judged, and cannot be judged again: \(error)"
        }
    }
}
