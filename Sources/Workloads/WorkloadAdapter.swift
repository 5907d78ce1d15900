package import Kubernetes

/// What there is to know about one kind of workload, as a change or a reading of its object: nothing here asks a cluster.
///
/// An adapter says what its kind does by itself. What holds for all kinds (queues, owners, what a restore strips
/// everywhere) is with `Workload`, which callers use. Which fields mean what, and which traps a kind has, was read in its
/// controller's source; the versions are with each adapter.
package protocol WorkloadAdapter: Sendable {
    /// The kind that the adapter speaks for.
    var kind: ResourceKind { get }

    /// Whether its pods end by themselves: then a restored copy of one that was done runs once more.
    var runsToCompletion: Bool { get }

    /// Whether its controller makes what it manages anew, at once, so that a restore leaves those objects out.
    var recreatesChildren: Bool { get }

    /// How it is stopped.
    func stop(_ object: KubernetesObject) -> StopMethod

    /// What its own status says about its pods; nil when it has no counters, and only the list of pods tells.
    func standing(_ object: KubernetesObject) -> Standing?

    /// Whether it is done; nil while it is not.
    func completion(_ object: KubernetesObject) -> Completion?

    /// Where it describes pods.
    func podTemplates(_ object: KubernetesObject) -> [PodTemplate]

    /// Which pods are its own: those of any of these. Empty when its object does not say.
    func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector]

    /// Claims beyond those that its templates name.
    func claims(_ object: KubernetesObject) -> [ClaimReference]

    /// What it needs beyond what its templates name.
    func references(_ object: KubernetesObject) -> [ObjectReference]

    /// Its traps.
    func findings(_ object: KubernetesObject) -> [WorkloadFinding]

    /// What a user should know of one that is restored, a line each.
    func restoreRemarks(_ object: KubernetesObject) -> [String]

    /// What keeps a restored one from running until its data is whole.
    func gate(_ object: KubernetesObject) -> GateMethod

    /// Takes out what its controller or the server wrote, and what names objects of the cluster it comes from.
    func strip(_ object: inout KubernetesObject)
}

extension WorkloadAdapter {
    package var runsToCompletion: Bool { true }
    package var recreatesChildren: Bool { true }
    package func completion(_ object: KubernetesObject) -> Completion? { nil }
    package func claims(_ object: KubernetesObject) -> [ClaimReference] { [] }
    package func references(_ object: KubernetesObject) -> [ObjectReference] { [] }
    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] { [] }
    package func restoreRemarks(_ object: KubernetesObject) -> [String] { [] }
    package func strip(_ object: inout KubernetesObject) {}

    package func gate(_ object: KubernetesObject) -> GateMethod {
        switch stop(object) {
        case .fields(let settings): .fields(settings)
        case .command, .objects, .throughKueue: .none("a \(kind.kind) has no field that keeps it from running")
        case .impossible(let reason): .none(reason)
        }
    }
}

/// How a workload is stopped, and let go again.
package enum StopMethod: Equatable, Sendable {
    /// By fields of its object, all in one change (`HeldFields`).
    case fields([FieldSetting])
    /// By an object that is created; another one lets it go.
    case command(stop: KubernetesObject, resume: KubernetesObject)
    /// By stopping other objects, of which those that exist are meant, each as its own kind is stopped.
    case objects([ObjectReference])
    /// By deactivating the Kueue Workload that the object owns: Kueue puts back whatever is changed in the object itself.
    case throughKueue
    /// Not at all, and why.
    case impossible(String)
}

/// What keeps a restored workload from running.
package enum GateMethod: Equatable, Sendable {
    /// Fields of its object (`HeldFields`).
    case fields([FieldSetting])
    /// Our name in a pod's `spec.schedulingGates`.
    case schedulingGate
    /// Nothing can, and why.
    case none(String)
}

/// What a workload's own status says. `stopped` is no more than the controller's word: pods that still end are seen
/// only in the list of pods.
package enum Standing: Equatable, Sendable {
    case running
    /// With what is left to wait for.
    case stopping(String)
    case stopped
}

/// How a workload that is done ended.
package enum Completion: Hashable, Sendable {
    case succeeded, failed
}
