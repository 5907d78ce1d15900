internal import Basics
internal import Synchronization

/// One of several processes that acts while the others stand by, told by a Lease (coordination.k8s.io/v1).
///
/// Unlike `KubernetesLease`, which goes by the server's clock, nobody's clock but this process's own is asked, and of that
/// only how much time has passed: a Lease is over when it has not changed for as long as it says that it holds, counted from
/// when this process saw it so first (client-go's rule, `tools/leaderelection`). So machines' clocks need not agree. The
/// one that leads stops before anybody can think its Lease over: what it does is cancelled when it could not renew for
/// `Timing.renewSeconds`.
package struct LeaderElection: Sendable {
    /// How long things take; as Kubernetes' own controllers have it.
    package struct Timing: Sendable {
        /// Seconds that the Lease holds without being renewed.
        package var leaseSeconds: Int
        /// Seconds after which who leads gives up when it cannot renew; less than the above.
        package var renewSeconds: Double
        /// Seconds between attempts to renew or to get it.
        package var retrySeconds: Double

        package init(leaseSeconds: Int = 15, renewSeconds: Double = 10, retrySeconds: Double = 2) {
            self.leaseSeconds = leaseSeconds
            self.renewSeconds = renewSeconds
            self.retrySeconds = retrySeconds
        }
    }

    /// What happens, each told once.
    package enum Event: Sendable, Equatable {
        /// Another one leads.
        case standingBy(leader: String)
        /// This one leads from now on.
        case leading
        /// It does not any more, and why.
        case lost(String)
        /// The Lease cannot be read or written.
        case failing(String)
    }

    private let client: KubernetesClient
    private let namespace: String
    private let name: String
    private let identity: String
    private let timing: Timing
    private let report: @Sendable (Event) -> Void

    /// For `identity`, which is no other process's, now or before.
    package init(
        _ client: KubernetesClient, namespace: String, name: String, identity: String, timing: Timing = Timing(),
        report: @escaping @Sendable (Event) -> Void
    ) {
        // Each attempt is one request: whoever asks again looks at the time first.
        self.client = KubernetesClient(
            client.configuration, patience: .init(totalSeconds: 0), clock: client.wallClock, logger: client.logger)
        self.namespace = namespace
        self.name = name
        self.identity = identity
        self.timing = timing
        self.report = report
    }

    /// Runs `lead` whenever this process leads, and cancels it when it does not any more; returns when `lead` does so by
    /// itself. The Lease is let go on the way out, whatever that is: a cancelled task, or an error of `lead`, which is
    /// thrown.
    package func run(_ lead: @escaping @Sendable () async throws -> Void) async throws {
        var observation = LeaderObservation()
        var told: Event?
        while true {
            try Task.checkCancellation()
            let begun = ContinuousClock.now
            let event: Event?
            do {
                if let lease = try await attempt(&observation) {
                    report(.leading)
                    if try await hold(lease, since: begun, lead) { return }
                    (told, observation) = (nil, LeaderObservation())
                    continue
                }
                // Nobody's for a moment: somebody else was faster.
                event = observation.holder.isEmpty ? nil : .standingBy(leader: observation.holder)
            } catch let error as KubernetesError where error.code != .cancelled {
                event = .failing(error.message)
            }
            if let event, event != told {
                report(event)
                told = event
            }
            // Not all at once, when there are many.
            try await pause(timing.retrySeconds * .random(in: 1...1.5))
        }
    }

    private func pause(_ seconds: Double) async throws { try await Task.sleep(for: .seconds(seconds)) }

    // MARK: Getting it

    /// Takes the Lease if it is nobody's, or over; nil when it is another's.
    private func attempt(_ observation: inout LeaderObservation) async throws -> KubernetesObject? {
        let (client, namespace, name) = (client, namespace, name)
        let late = KubernetesError(.timedOut, "cannot get leases \(namespace)/\(name): the server takes too long")
        let found = try await Deadline.run(seconds: timing.renewSeconds, or: late) {
            try await client.find(.leases, namespace: namespace, name: name)
        }
        guard let found else {
            let made = KubernetesObject(APIResource.leases.groupVersionKind, namespace: namespace, name: name)
            return try await write { [held = held(made, from: nil)] in try await client.create(.leases, held) }
        }
        let isOurs = KubernetesLease.state(found).holder == identity
        guard observation.isOver(found, at: ContinuousClock.now) || isOurs else { return nil }
        return try await write { [held = held(found, from: found)] in try await client.update(.leases, held) }
    }

    /// Nil when somebody else was faster.
    private func write(
        _ body: @escaping @Sendable () async throws -> KubernetesObject
    ) async throws -> KubernetesObject? {
        let late = KubernetesError(.timedOut, "cannot write leases \(namespace)/\(name): the server takes too long")
        do {
            return try await Deadline.run(seconds: timing.renewSeconds, or: late) { try await body() }
        } catch let error as KubernetesError where [.conflict, .alreadyExists, .notFound].contains(error.code) {
            return nil
        }
    }

    private func held(_ lease: KubernetesObject, from old: KubernetesObject?) -> KubernetesObject {
        let state = old.map { KubernetesLease.state($0) }
        let now = JSONValue.string(CalendarTime(client.wallClock.now()).microsecondText)
        var spec = lease["spec"]?.object ?? JSONObject()
        if state?.holder != identity {
            spec["acquireTime"] = now
            spec["leaseTransitions"] = .integer(state.map { $0.transitions &+ 1 } ?? 0)
        }
        spec["holderIdentity"] = .string(identity)
        spec["leaseDurationSeconds"] = .integer(timing.leaseSeconds)
        spec["renewTime"] = now
        return with(lease, spec)
    }

    private func with(_ lease: KubernetesObject, _ spec: JSONObject) -> KubernetesObject {
        var lease = lease
        do throws(JSONPathError) {
            try lease.set(.object(spec), at: ["spec"])
        } catch {
            preconditionFailure("an object takes any member: \(error)")
        }
        return lease
    }

    // MARK: Having it

    private struct Lost: Error { let reason: String }

    /// The Lease as it was last written.
    private final class Current: Sendable {
        let lease: Mutex<KubernetesObject>
        init(_ lease: KubernetesObject) { self.lease = Mutex(lease) }
    }

    /// Runs `lead` while the Lease is renewed; false when it was lost. `since` is when it was asked for.
    private func hold(
        _ lease: KubernetesObject, since: ContinuousClock.Instant, _ lead: @escaping @Sendable () async throws -> Void
    ) async throws -> Bool {
        let current = Current(lease)
        let outcome: Result<Void, any Error>
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await lead() }
                group.addTask { try await renew(current, since: since) }
                defer { group.cancelAll() }
                _ = try await group.next()
            }
            outcome = .success(())
        } catch let error as Lost {
            report(.lost(error.reason))
            return false
        } catch {
            outcome = .failure(error)
        }
        // A task that is cancelled must not keep this from being done.
        let last = current.lease.withLock { $0 }
        _ = await OwnedTask<Void, Never> { await release(last) }.outcome()
        try outcome.get()
        return true
    }

    /// Renews until it is cancelled. Throws `Lost`.
    private func renew(_ current: Current, since: ContinuousClock.Instant) async throws {
        let clock = ContinuousClock()
        var renewed = since
        var trouble = ""
        while true {
            let left = timing.renewSeconds - (clock.now - renewed) / .seconds(1)
            guard left > 0 else {
                throw Lost(reason: "the Lease could not be renewed for \(timing.renewSeconds) s: \(trouble)")
            }
            try await pause(min(timing.retrySeconds, left))
            let begun = clock.now
            do {
                let lease = try await self.renewed(current.lease.withLock { $0 })
                current.lease.withLock { $0 = lease }
                renewed = begun
            } catch let error as KubernetesError where error.code != .cancelled {
                trouble = error.message
            }
        }
    }

    /// The Lease, renewed. Throws `Lost` when it is another's.
    private func renewed(_ lease: KubernetesObject) async throws -> KubernetesObject {
        let (client, namespace, name, identity) = (client, namespace, name, identity)
        let late = KubernetesError(.timedOut, "cannot update leases \(namespace)/\(name): the server takes too long")
        return try await Deadline.run(seconds: timing.retrySeconds * 2, or: late) {
            do throws(KubernetesError) {
                return try await client.update(.leases, held(lease, from: lease))
            } catch {
                guard error.code == .conflict || error.code == .notFound else { throw error }
            }
            // Our own write, whose answer was lost, or somebody else's.
            let now = try await client.get(.leases, namespace: namespace, name: name)
            let holder = KubernetesLease.state(now).holder
            guard holder == identity else {
                throw Lost(reason: "\(holder.isEmpty ? "nobody" : holder) holds the Lease")
            }
            return try await client.update(.leases, held(now, from: now))
        }
    }

    /// Lets go of it, so that the next one need not wait. What goes wrong only makes the others wait.
    private func release(_ lease: KubernetesObject) async {
        let (client, namespace, name, identity) = (client, namespace, name, identity)
        let late = KubernetesError(.timedOut, "the Lease could not be let go")
        try? await Deadline.run(seconds: timing.renewSeconds, or: late) {
            var lease = lease
            for _ in 0..<2 {
                guard KubernetesLease.state(lease).holder == identity else { return }
                var spec = lease["spec"]?.object ?? JSONObject()
                for key in ["holderIdentity", "acquireTime", "renewTime"] { spec[key] = nil }
                do throws(KubernetesError) {
                    _ = try await client.update(.leases, with(lease, spec))
                    return
                } catch {
                    guard error.code == .conflict else { return }
                }
                lease = try await client.get(.leases, namespace: namespace, name: name)
            }
        }
    }
}

/// What a process has seen of another one's Lease, and since when.
struct LeaderObservation: Sendable {
    private var uid = ""
    private var spec = JSONValue.null
    private var since: ContinuousClock.Instant?
    /// Who holds it; empty for nobody.
    private(set) var holder = ""

    /// Seconds that are believed to be a Lease's length, whatever it says.
    private static let longestSeconds = 3600

    /// Takes note of the Lease as it is now; answers whether anybody may take it.
    mutating func isOver(_ lease: KubernetesObject, at now: ContinuousClock.Instant) -> Bool {
        let spec = lease["spec"] ?? .null
        if since == nil || lease.uid != uid || spec != self.spec {
            (uid, self.spec, since) = (lease.uid, spec, now)
        }
        let state = KubernetesLease.state(lease)
        holder = state.holder
        guard !holder.isEmpty, let since else { return true }
        return now - since >= .seconds(max(1, min(state.durationSeconds, Self.longestSeconds)))
    }
}
