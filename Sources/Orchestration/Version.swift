/// The version of everything here, and the name of its command: the one place that states them.
package enum Version {
    /// Semantic version, without a leading `v`.
    package static let number = "0.1.0"
    /// As manifests and `--version` give it.
    package static let program = "becalm \(number)"
}
