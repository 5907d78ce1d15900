internal import Basics
internal import Checkpoints
internal import RepositoryFormat

/// A file that is a checkpoint or a model, or a part of one, as it was when its directory was judged.
struct StateFile: Sendable {
    /// Raw and absolute.
    var path: [UInt8]
    /// The paths in the snapshot of the states that it belongs to.
    var states: [String]
    /// Whether it is all of a state, which was complete: it can be judged again.
    var isWhole: Bool
    /// Bytes, and nanoseconds since 1970.
    var size: UInt64
    var modified: Int64
    let options: SurveyOptions

    static let changed = "it changed while it was read: it was being written"

    /// Whether a file that was read with this metadata is the one that was judged.
    func isSame(_ metadata: FileMetadata) -> Bool {
        metadata.size == size && metadata.modified.nanoseconds == modified
    }

    /// Why what was read in the place of a whole one cannot stand for it; nil when it is complete as well. Blocks.
    func reasonToLeaveOut(_ metadata: FileMetadata) -> String? {
        guard let slash = path.lastIndex(of: UInt8(ascii: "/")),
            let place = String(validating: path[..<slash], as: UTF8.self),
            let name = String(validating: path[(slash + 1)...], as: UTF8.self)
        else { return nil }
        do {
            let tree = SingleFileTree(try LocalTree(place.isEmpty ? "/" : place), file: name)
            guard let finding = try Survey(tree, options: options).findings(at: "").first else {
                return "it was written again after it was judged, and is no \(name) that could be loaded now"
            }
            guard finding.judgement == .complete else {
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
