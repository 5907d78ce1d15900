/// Our annotations on workloads, pods and claims.
package enum BecalmAnnotation {
    /// All of them begin with this.
    package static let prefix = "becalm.io/"

    /// Set by users: what a backup does with the workload, a `QuiescePolicy.Consistency`.
    package static let consistency = "becalm.io/consistency"
    /// Set by users: the command that makes a running container write a checkpoint.
    package static let checkpointCommand = "becalm.io/checkpoint-command"
    /// Set by users: the signal that makes process 1 of a container write one.
    package static let checkpointSignal = "becalm.io/checkpoint-signal"
    /// Set by users: the HTTP request that makes a pod write one.
    package static let checkpointHTTP = "becalm.io/checkpoint-http"
    /// Set by users: the file that is made in a pod's container to make it write one.
    package static let checkpointFile = "becalm.io/checkpoint-file"
    /// Set by users: the container that is asked; the pod's default one, else its first, where this is missing.
    package static let checkpointContainer = "becalm.io/checkpoint-container"
    /// Set by users: whether `all` pods are asked (the default), or the `first` alone: rank 0.
    package static let checkpointRanks = "becalm.io/checkpoint-ranks"
    /// Set by users: how long the checkpoint may take.
    package static let checkpointTimeout = "becalm.io/checkpoint-timeout"
    /// Set by users: whether routes are drained before its pods stop, a `QuiescePolicy.Drain`.
    package static let drain = "becalm.io/drain"
    /// Set by users: how long it may take its servers to answer what they have begun.
    package static let drainTimeout = "becalm.io/drain-timeout"
    /// Set by users: traps in spite of which the workload is stopped, by the words that refusals name, between commas.
    package static let override = "becalm.io/override"
    /// Set by users on a claim: `true` has Becalm store its data, `false` has it keep away.
    package static let volumeBackup = "becalm.io/volume-backup"

    /// The fields that stopped the workload, with what they were: `HeldFields`.
    package static let quiesced = "becalm.io/quiesced"
    /// On a route: the weights of backends that were set to 0, with what they were and for whom: `RouteDrain`.
    package static let drained = "becalm.io/drained"
    /// The fields that keep a restored workload from running, with what they were: `HeldFields`.
    package static let gated = "becalm.io/gated"
    /// Beside `gated`: `by-hand` where nothing but a user lets the workload go, whatever its data comes to.
    package static let release = "becalm.io/release"
    /// On a stored object: what a backup found of the workload.
    package static let captured = "becalm.io/captured"
    /// On a stored claim: the snapshot with its data.
    package static let volumeSnapshot = "becalm.io/volume-snapshot"

    /// On a Lease, a label: `quiesce` says that it is the journal of a workload that is stopped (`QuiesceJournal`).
    package static let journal = "becalm.io/journal"
    /// On a Job and its pods, a label: the run of movers that they belong to. They are no pods of the workload.
    package static let run = "becalm.io/run"

    /// On what is there for a run only, a label of Velero's: it is in no backup, and no restore brings it back.
    package static let excluded = "velero.io/exclude-from-backup"

    /// Our name where others keep lists of who holds something: scheduling gates, Kueue's admission gates.
    package static let gateName = "becalm.io/restore"
}
