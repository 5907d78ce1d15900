package import Basics
internal import HTTPTransport

/// A Lease of the cluster (coordination.k8s.io/v1) with a holder and an end: who holds it may act until it ends.
///
/// The server's clock counts, as its answers tell it, so holders with wrong clocks agree on when a lease has ended. Who
/// holds one must renew it in good time and stop when that fails.
package struct KubernetesLease: Sendable {
    /// What a lease says.
    package struct State: Hashable, Sendable {
        /// Empty when nobody holds it.
        package var holder: String
        package var durationSeconds: Int
        /// When the holder said last that it is there.
        package var renewed: Timestamp?
        /// How often it changed hands.
        package var transitions: Int64

        package init(holder: String, durationSeconds: Int, renewed: Timestamp?, transitions: Int64) {
            self.holder = holder
            self.durationSeconds = durationSeconds
            self.renewed = renewed
            self.transitions = transitions
        }

        /// When it ends, if somebody holds it; a lease without a time has ended.
        package var end: Timestamp {
            let start = renewed ?? Timestamp(seconds: 0)
            let length = Int64(max(0, min(durationSeconds, Int(Int32.max)))) * 1_000_000_000
            let (sum, isBeyond) = start.nanoseconds.addingReportingOverflow(length)
            return Timestamp(nanoseconds: isBeyond ? .max : sum)
        }
    }

    /// What comes of asking for it.
    package enum Acquisition: Sendable {
        /// It is ours; `previous` says whom it was taken from, if the one had not let go of it.
        case acquired(KubernetesObject, previous: State?)
        /// Somebody else holds it.
        case held(State)
    }

    package let client: KubernetesClient
    package let namespace: String
    package let name: String

    /// Writes that are tried when others write in between.
    private static let attempts = 20

    package init(_ client: KubernetesClient, namespace: String, name: String) {
        self.client = client
        self.namespace = namespace
        self.name = name
    }

    /// What a lease's object says.
    package static func state(_ lease: KubernetesObject) -> State {
        State(
            holder: lease["spec", "holderIdentity"]?.string ?? "",
            durationSeconds: Int(clamping: lease["spec", "leaseDurationSeconds"]?.int64 ?? 0),
            renewed: lease["spec", "renewTime"]?.string.flatMap { CalendarTime.parse(rfc3339: $0) },
            transitions: lease["spec", "leaseTransitions"]?.int64 ?? 0)
    }

    /// Takes the lease for `holder`, for `seconds`, if nobody holds it, its time is over, or `holder` has it already.
    /// `labels` and `annotations` are set on it. Two who ask at once do not both get it.
    package func acquire(
        holder: String, seconds: Int, labels: [String: String] = [:], annotations: [String: String] = [:]
    ) async throws(KubernetesError) -> Acquisition {
        var attempt = 0
        while true {
            attempt += 1
            let (lease, now) = try await read()
            do throws(KubernetesError) {
                guard var lease else {
                    var lease = KubernetesObject(APIResource.leases.groupVersionKind, namespace: namespace, name: name)
                    try hold(&lease, holder, seconds, now, from: nil, annotations)
                    for (key, value) in labels { lease.setLabel(key, value) }
                    return .acquired(try await client.create(.leases, lease), previous: nil)
                }
                let state = Self.state(lease)
                if !state.holder.isEmpty, state.holder != holder, now < state.end { return .held(state) }
                try hold(&lease, holder, seconds, now, from: state, annotations)
                for (key, value) in labels { lease.setLabel(key, value) }
                let stored = try await client.update(.leases, lease)
                let isTaken = !state.holder.isEmpty && state.holder != holder
                return .acquired(stored, previous: isTaken ? state : nil)
            } catch {
                // Somebody was faster, or the answer to our own write was lost: what is there now tells.
                let isRace =
                    error.code == .conflict || error.code == .alreadyExists || error.code == .notFound
                    || error.isAmbiguous
                // Each time somebody else has got on: so many in a row is no race.
                guard isRace, attempt < Self.attempts else { throw error }
            }
        }
    }

    /// Says that `holder` is still there, for `seconds` from now. Throws `.conflict` when the lease is another's, or gone.
    package func renew(holder: String, seconds: Int) async throws(KubernetesError) -> KubernetesObject {
        var attempt = 0
        while true {
            attempt += 1
            let (lease, now) = try await read()
            guard var lease, Self.state(lease).holder == holder else { throw lost(lease, holder) }
            try hold(&lease, holder, seconds, now, from: Self.state(lease), [:])
            do throws(KubernetesError) {
                return try await client.update(.leases, lease)
            } catch {
                guard error.code == .conflict, attempt < Self.attempts else { throw error }
            }
        }
    }

    /// Lets go of the lease; it stays, held by nobody, or goes when `deletes`. A lease that is not `holder`'s is left alone.
    package func release(holder: String, deletes: Bool = false) async throws(KubernetesError) {
        var attempt = 0
        while true {
            attempt += 1
            let (lease, _) = try await read()
            guard var lease, Self.state(lease).holder == holder else { return }
            do throws(KubernetesError) {
                if deletes {
                    let options = DeleteOptions(uid: lease.uid, resourceVersion: lease.resourceVersion)
                    try await client.delete(.leases, namespace: namespace, name: name, options)
                } else {
                    lease.remove(at: ["spec", "holderIdentity"])
                    lease.remove(at: ["spec", "renewTime"])
                    lease.remove(at: ["spec", "acquireTime"])
                    _ = try await client.update(.leases, lease)
                }
                return
            } catch {
                guard error.code == .conflict, attempt < Self.attempts else { throw error }
            }
        }
    }

    /// The lease, nil when there is none, and the server's time.
    package func read() async throws(KubernetesError) -> (lease: KubernetesObject?, now: Timestamp) {
        let call = APICall("get", .get, .leases, namespace: namespace, name: name)
        let ours = client.wallClock.now()
        do throws(KubernetesError) {
            let (response, body) = try await client.perform(call)
            let now = response.headers["Date"].flatMap { CalendarTime.parse(httpDate: $0) } ?? ours
            do throws(KubernetesObject.Malformed) {
                return (try KubernetesObject(parsing: body), now)
            } catch {
                throw KubernetesError(.malformed, "cannot \(call.label): \(error)")
            }
        } catch {
            guard error.code == .notFound else { throw error }
            return (nil, error.serverTime ?? ours)
        }
    }

    private func lost(_ lease: KubernetesObject?, _ holder: String) -> KubernetesError {
        let other = lease.map { Self.state($0).holder } ?? ""
        let who = lease == nil ? "it is gone" : other.isEmpty ? "nobody holds it" : "\(other) holds it"
        return KubernetesError(.conflict, "\(holder) holds the Lease \(namespace)/\(name) no more: \(who)")
    }

    private func hold(
        _ lease: inout KubernetesObject, _ holder: String, _ seconds: Int, _ now: Timestamp, from state: State?,
        _ annotations: [String: String]
    ) throws(KubernetesError) {
        let time = JSONValue.string(CalendarTime(now).microsecondText)
        do throws(JSONPathError) {
            if state?.holder != holder {
                try lease.set(time, at: ["spec", "acquireTime"])
                let transitions = state.map { $0.transitions &+ 1 } ?? 0
                try lease.set(.integer(transitions), at: ["spec", "leaseTransitions"])
            }
            try lease.set(.string(holder), at: ["spec", "holderIdentity"])
            try lease.set(.integer(seconds), at: ["spec", "leaseDurationSeconds"])
            try lease.set(time, at: ["spec", "renewTime"])
        } catch {
            throw KubernetesError(.malformed, "the Lease \(namespace)/\(name) is malformed: \(error)")
        }
        for (key, value) in annotations { lease.setAnnotation(key, value) }
    }
}
