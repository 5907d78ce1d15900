/// The parameters of a volume policy's `custom` action that give a volume to Becalm.
///
///     action:
///       type: custom
///       parameters:
///         mover: becalm.io
///         source: snapshot
package struct MoverParameters: Hashable, Sendable {
    /// Where a volume's data is read.
    package enum Source: String, Sendable, CaseIterable {
        /// From a clone of a CSI snapshot where the driver makes them, else from the volume itself.
        case auto
        /// From a clone of a CSI snapshot; an error where there is none.
        case snapshot
        /// From the volume itself.
        case live
    }

    package var source: Source = .auto
    /// Movers side by side on one volume that many nodes can mount: 1 to 64.
    package var shards = 1

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
                guard let source = Source(rawValue: value) else {
                    throw Self.malformed(key, value, Source.allCases.map(\.rawValue).joined(separator: ", "))
                }
                self.source = source
            case "shards":
                guard let shards = Int(value), (1...64).contains(shards) else {
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
