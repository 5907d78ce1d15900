/// How the data mover works.
package struct DataMoverSettings: Sendable {
    /// Velero's namespace: there are the transfers, and there their pods run, so that what opens the repository never leaves
    /// it.
    package var namespace: String
    /// Who this process is: the node where that is known. It stands in what it accepts.
    package var identity: String
    /// How the pods are made that move data.
    package var movers: MoverSettings
    /// Transfers at once; more wait in the order in which they came.
    package var concurrency = 4
    /// Seconds from a transfer's acceptance until its pod must have the volume.
    package var prepareSeconds = 1800
    /// Seconds that the volume of a claim of a class with `WaitForFirstConsumer` waits for a pod that says by its node where
    /// the volume is to be.
    package var consumerSeconds = 300
    /// Seconds between looks at what changes without telling.
    package var pollSeconds = 3.0

    package init(namespace: String, identity: String, movers: MoverSettings) {
        self.namespace = namespace
        self.identity = identity
        self.movers = movers
    }

    /// Seconds that a mover may take in all: a week. Velero ends an operation much earlier, by asking for its end.
    static let mostSeconds = 604_800
}
