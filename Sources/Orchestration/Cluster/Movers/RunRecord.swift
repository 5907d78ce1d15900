package import Kubernetes

/// What an operation leaves in its namespace for whoever asks about it later, perhaps in another process: a text in a Lease
/// that is kept for a while after it was written last, and goes with the next run of movers there.
package struct RunRecord: Sendable {
    private let client: KubernetesClient
    private let namespace: String
    private let run: String

    /// That of `run`, which must be no run of movers: `DetachedMover.run(for:)` makes one of what says which it is.
    package init(_ client: KubernetesClient, namespace: String, run: String) {
        self.client = client
        self.namespace = namespace
        self.run = run
    }

    private var lease: KubernetesLease {
        KubernetesLease(client, namespace: namespace, name: MoverLease.name(run: run))
    }

    /// The text; nil where nobody has written one, or long ago.
    package func read() async throws(KubernetesError) -> String? {
        try await lease.read().lease?.annotations[MoverJob.resultAnnotation]
    }

    /// Writes `text`, at most some kilobytes, over what is there, to be kept for so long.
    package func write(_ text: String, keepSeconds: Int) async throws(KubernetesError) {
        let acquisition = try await lease.acquire(
            holder: run, seconds: keepSeconds, labels: MoverLease.labels(run: run),
            annotations: [MoverLease.repositoryAnnotation: "", MoverJob.resultAnnotation: text])
        guard case .held(let state) = acquisition else { return }
        throw KubernetesError(
            .conflict, "the Lease \(namespace)/\(MoverLease.name(run: run)) is held by \(state.holder): try again")
    }
}
