/// Whose data a mover's snapshot holds, where the claim that is mounted does not say it: a copy in another namespace.
package struct MoverSubject: Sendable, Equatable {
    /// `NAMESPACE/CLAIM`: the host of the snapshot, by which the next one of the same volume finds it.
    package var name: String
    /// Further marks of the snapshot.
    package var tags: [String]

    package init(name: String, tags: [String] = []) {
        self.name = name
        self.tags = tags
    }
}
