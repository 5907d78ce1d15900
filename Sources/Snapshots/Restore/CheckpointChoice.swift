/// Which checkpoint of a snapshot to restore.
package enum CheckpointChoice: Hashable, Sendable, CustomStringConvertible {
    /// The complete one of the highest step.
    case latest
    /// The one of this training step.
    case step(Int64)

    /// `latest` or a number. Nil for anything else.
    package init?(_ text: String) {
        if text == "latest" {
            self = .latest
        } else if let step = Int64(text), step >= 0 {
            self = .step(step)
        } else {
            return nil
        }
    }

    /// As a user writes it.
    package var description: String {
        switch self {
        case .latest: "latest"
        case .step(let step): "\(step)"
        }
    }
}
