internal import Kubernetes
internal import Synchronization

/// Sees to it that a workload stands still while its volumes are taken. Its journal says who holds it; it does not keep GitOps, an
/// operator or a user from starting it again under whoever reads.
///
/// Used from any task.
package final class StandstillWatch: Sendable {
    /// What was come to: for whoever takes the volumes.
    package let record: QuiesceRecord
    private let live: LiveWorkload
    /// Nil for a workload that nothing can disturb: one that runs on, or that has ended.
    private let standstill: Standstill?
    private let isTaken = Mutex(false)

    /// Seconds between two looks, at least and at most: each reads what was stopped, and lists pods.
    private static let restSeconds = 5.0
    private static let againSeconds = 20.0

    init(_ live: LiveWorkload, _ record: QuiesceRecord, _ standstill: Standstill?) {
        self.live = live
        self.record = record
        self.standstill = standstill
    }

    /// Says that all is taken that it must stand still for: what disturbs it from now on spoils nothing. Throws `.disturbed` when it
    /// does not stand still now, and what the cluster refuses.
    package func taken() async throws {
        try await check()
        isTaken.withLock { $0 = true }
    }

    /// Runs `body`, which is cancelled when the workload does not stand still any more. Throws `.disturbed` then, and when
    /// it does not at the end; not once `taken` was said.
    func guarding<R: Sendable>(_ body: @escaping @Sendable () async throws -> R) async throws -> R {
        guard let standstill else { return try await body() }
        let result = try await withThrowingTaskGroup(of: R?.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await body() }
            group.addTask {
                do {
                    try await self.follow(standstill)
                } catch let error where !(error is QuiesceError) {
                    // Cancelled, as the body is then, too; or what the look at the end throws as well.
                }
                return nil
            }
            while let ended = try await group.next() {
                if let result = ended { return result }
            }
            throw CancellationError()
        }
        if !isTaken.withLock({ $0 }) { try await check() }
        return result
    }

    private func check() async throws {
        if let what = try await standstill?.disturbance() { throw disturbed(what) }
    }

    /// Looks until something is taken, and throws `.disturbed` before.
    private func follow(_ standstill: Standstill) async throws {
        let options = ListOptions(fields: "metadata.name=\(live.object.name)")
        var look = RepeatedLook([
            live.client.watch(.pods, namespace: live.namespace),
            live.client.watch(live.resource, namespace: live.namespace, options),
        ])
        (look.restSeconds, look.againSeconds) = (Self.restSeconds, Self.againSeconds)
        // A Duration has an end; the body's is the hold's deadline.
        let end = ContinuousClock().now.advanced(by: .seconds(1e9))
        _ = try await look.lasts(until: end) {
            if self.isTaken.withLock({ $0 }) { return true }
            do throws(any Error) {
                guard let what = try await standstill.disturbance() else { return false }
                throw self.disturbed(what)
            } catch let error as KubernetesError where error.code != .cancelled {
                // A server that is away for a while: it is looked again, and at the end in any case.
                return false
            }
        }
    }

    private func disturbed(_ what: String) -> QuiesceError {
        QuiesceError(
            .disturbed,
            "\(live.object.label) did not stand still while its volumes were taken: \(what); what was read may be of two moments, so it is not kept: have whatever starts it (GitOps, an autoscaler, an operator) paused, and try again"
        )
    }
}
