package import RepositoryFormat

/// A snapshot as Velero keeps it, perhaps for years: `becalm1:REPOSITORY:SNAPSHOT`, each 32 hexadecimal digits. What is
/// in it, and which volume it is of, is in the repository.
package struct VolumeSnapshotID: Hashable, Sendable, CustomStringConvertible {
    package var repository: Identifier
    package var snapshot: Identifier

    package init(repository: Identifier, snapshot: Identifier) {
        self.repository = repository
        self.snapshot = snapshot
    }

    /// From an id's text; nil for what this version cannot read.
    package init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "becalm1", let repository = Identifier(hex: parts[1]),
            let snapshot = Identifier(hex: parts[2])
        else { return nil }
        self.init(repository: repository, snapshot: snapshot)
    }

    package var description: String { "becalm1:\(repository):\(snapshot)" }
}
