internal import Basics
internal import Kubernetes

/// Whether a server runs Jobs whose pods have indexes (`completionMode: Indexed`): Kubernetes does since 1.22, and 1.21 where it
/// is told to (KEP-2214).
///
/// Older servers, and those with the feature turned off, take such a Job and drop the field without a word: its pods would all
/// take the same share. So one is created as a trial (`dryRun=All`), and what comes back says what the server makes of it.
struct IndexedJobs: Sendable {
    /// The value of `completionMode`.
    static let mode = "Indexed"

    /// What a server has of it.
    struct Support: Sendable, Equatable {
        var isServed = false
        /// Whether it counts the failures of each index by itself (`backoffLimitPerIndex`, KEP-3850: by default since 1.29).
        var limitsEachIndex = false
    }

    private let client: KubernetesClient
    /// What the server said: it is asked once.
    private let answer = Monitor<Support?>(nil)

    init(_ client: KubernetesClient) { self.client = client }

    /// What the server has of it, asked with the Job that is to be. Where it refuses that (a webhook that takes no trials, or
    /// what it would refuse of any Job), nothing is served: other Jobs do as well, and say what is wrong.
    func support(for mover: MoverJob) async throws(KubernetesError) -> Support {
        if let known = answer.withLock({ $0 }) { return known }
        var trial = mover
        trial.limitsEachIndex = true
        let found: Support
        do throws(KubernetesError) {
            found = Self.support(in: try await client.create(.jobs, trial.job(), WriteOptions(isDryRun: true)))
        } catch {
            switch error.code {
            // What a process that died has made of it.
            case .alreadyExists:
                found = Self.support(in: try await client.get(.jobs, namespace: mover.namespace, name: mover.name))
            case .forbidden, .invalid: found = Support()
            default: throw error
            }
        }
        answer.withLock { $0 = found }
        return found
    }

    /// What a server has of it that made `job` of one with all of it.
    static func support(in job: KubernetesObject) -> Support {
        let isServed = job["spec", "completionMode"]?.string == mode
        return Support(
            isServed: isServed, limitsEachIndex: isServed && job["spec", "backoffLimitPerIndex"]?.int64 != nil)
    }
}
