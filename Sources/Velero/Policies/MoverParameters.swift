package import Orchestration

/// The parameters of a volume policy's `custom` action that give a volume to Becalm.
///
///     action:
///       type: custom
///       parameters:
///         mover: becalm.io
///         source: snapshot
package struct MoverParameters: Hashable, Sendable {
    /// Where a volume's data is read; nil for what the settings say.
    package var source: VolumeSource?
    /// Movers side by side on one volume that many nodes can mount, `shardRange`; nil for what the settings say.
    package var shards: Int?
    package static let shardRange = 1...64

    package init() {}

    /// The value of `mover` that means us.
    package static let mover = "becalm.io"

    /// From an action's parameters; nil when they are somebody else's. Throws on those that we do not know.
    package init?(_ parameters: [String: String]) throws(VeleroError) {
        guard parameters["mover"] == Self.mover else {
            // A volume that is meant for us and goes to nobody would be missing without a word.
            guard !parameters.contains(where: { $0.key.contains("becalm") || $0.value.contains("becalm") }) else {
                throw VeleroError(
                    .invalidArgument,
                    "a volume policy's action speaks of Becalm but does not give the volume to it: write mover: \(Self.mover)"
                )
            }
            return nil
        }
        for key in parameters.keys.sorted() {
            let value = parameters[key] ?? ""
            switch key {
            case "mover": break
            case "source":
                guard let source = VolumeSource(rawValue: value) else {
                    throw Self.malformed(key, value, VolumeSource.allCases.map(\.rawValue).joined(separator: ", "))
                }
                self.source = source
            case "shards":
                guard let shards = Int(value), Self.shardRange.contains(shards) else {
                    throw Self.malformed(key, value, "a number from 1 to 64")
                }
                self.shards = shards
            default:
                throw VeleroError(
                    .invalidArgument,
                    "a volume policy's action for Becalm has no parameter `\(key.prefix(80))`; it has mover, source, shards"
                )
            }
        }
    }

    private static func malformed(_ key: String, _ value: String, _ words: String) -> VeleroError {
        VeleroError(
            .invalidArgument,
            "a volume policy's action for Becalm: `\(key)` is one of \(words), not `\(value.prefix(80))`")
    }
}
