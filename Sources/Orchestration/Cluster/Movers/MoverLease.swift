internal import Basics
internal import Kubernetes
internal import Workloads

/// Says, in the cluster, that somebody looks after a run of movers.
struct MoverLease: Sendable {
    private let lease: KubernetesLease
    private let run: String

    /// The value of the label `BecalmAnnotation.journal`.
    static let label = "mover"
    static let seconds = 60
    static let renewalSeconds = 20.0

    init(_ client: KubernetesClient, namespace: String, run: String) {
        self.run = run
        lease = KubernetesLease(client, namespace: namespace, name: Self.name(run: run))
    }

    private static let prefix = "becalm-run-"

    /// The name of a run's Lease.
    static func name(run: String) -> String { prefix + run }

    /// The run whose Lease is called so; nil for what is none.
    static func run(ofName name: String) -> String? {
        name.hasPrefix(prefix) && name.count > prefix.count ? String(name.dropFirst(prefix.count)) : nil
    }

    /// The id of the repository that the run has a key of; empty for none.
    static let repositoryAnnotation = "becalm.io/repository"
    /// Of a run that has ended: the id of the repository that it had a key of.
    static let storedInAnnotation = "becalm.io/stored-in"
    /// Of a run that has ended: the node that its mover ran on.
    static let nodeAnnotation = "becalm.io/node"
    /// Of a run without a process: not all of it has been made yet, so what is missing is no loss.
    private static let beginningAnnotation = "becalm.io/beginning"
    /// Of a run whose mover reads a copy: the VolumeSnapshot that it is made of, and how long that may take.
    static let copyAnnotation = "becalm.io/copy-of"
    /// Of a run whose volume is shared among several movers: how many.
    private static let sharesAnnotation = "becalm.io/shares"
    /// Of a run without a process: a pod of it has been seen to run.
    private static let ranAnnotation = "becalm.io/has-run"
    /// Seconds that the run's mover has to begin.
    private static let startAnnotation = "becalm.io/start-seconds"

    /// Seconds that the mover of a run without a process has to begin; nil where nobody said.
    static func startSeconds(_ lease: KubernetesObject) -> Int? {
        lease.annotations[startAnnotation].flatMap { Int($0) }
    }

    /// Whether something of the run of this Lease has been seen to run.
    static func hasRun(_ lease: KubernetesObject) -> Bool { lease.annotations[ranAnnotation] == "true" }

    /// Has it say so.
    static func markRun(_ lease: inout KubernetesObject) { lease.setAnnotation(ranAnnotation, "true") }

    /// Movers that share the run's volume; 1 where it has one.
    static func shares(_ lease: KubernetesObject) -> Int {
        min(max(1, lease.annotations[sharesAnnotation].flatMap { Int($0) } ?? 1), mostShares)
    }

    /// What `--shards` and the plugin's settings allow, and a Lease has room for.
    private static let mostShares = 64

    /// What a run's Lease is found by.
    static func labels(run: String) -> [String: String] {
        [BecalmAnnotation.journal: label, BecalmAnnotation.run: run, BecalmAnnotation.excluded: "true"]
    }

    /// Whether who began it has not come to the end of that.
    static func isBeginning(_ lease: KubernetesObject) -> Bool { lease.annotations[beginningAnnotation] == "true" }

    /// Begins it. One with `startSeconds` is beginning until `hasBegun` is called.
    /// `copy` is what `copyAnnotation` is to say, `shares` how many movers there are.
    func take(
        repository: String, seconds: Int = Self.seconds, startSeconds: Int? = nil, copy: String? = nil, shares: Int = 1
    ) async throws {
        var annotations = [Self.repositoryAnnotation: repository]
        if let startSeconds {
            annotations[Self.startAnnotation] = "\(startSeconds)"
            annotations[Self.beginningAnnotation] = "true"
        }
        annotations[Self.copyAnnotation] = copy
        if shares > 1 { annotations[Self.sharesAnnotation] = "\(shares)" }
        guard
            case .acquired = try await lease.acquire(
                holder: run, seconds: seconds, labels: Self.labels(run: run), annotations: annotations)
        else {
            throw JourneyError(.busy, kind: "run_exists", "another run of movers is called \(run): try again")
        }
    }

    /// Says that all of it has been made.
    func hasBegun(seconds: Int) async throws(KubernetesError) {
        _ = try await lease.acquire(
            holder: run, seconds: seconds, annotations: [Self.beginningAnnotation: "false"])
    }

    /// Has it last so long from now on: what is left of the run is taken away by whoever comes after that.
    func hold(seconds: Int) async throws(KubernetesError) { _ = try await lease.acquire(holder: run, seconds: seconds) }

    /// Runs `body` while the lease is renewed. A lease that is lost ends it: somebody is taking the movers away.
    func renewing<R: Sendable>(_ body: @escaping @Sendable () async throws -> R) async throws -> R {
        try await withThrowingTaskGroup(of: R?.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await body() }
            group.addTask {
                while true {
                    do { try await Task.sleep(for: .seconds(Self.renewalSeconds)) } catch { return nil }
                    do throws(KubernetesError) {
                        _ = try await lease.renew(holder: run, seconds: Self.seconds)
                    } catch {
                        if error.code == .cancelled { return nil }
                        // A server that is away for a while: the next renewal tries again.
                        guard error.code == .conflict else { continue }
                        throw error
                    }
                }
            }
            while let ended = try await group.next() {
                if let result = ended { return result }
            }
            throw CancellationError()
        }
    }

    /// Takes it over, if nobody looks after the run any more, so that two do not clean at once.
    func takeOver(_ holder: String) async throws -> Bool {
        guard case .acquired = try await lease.acquire(holder: holder, seconds: Self.seconds) else { return false }
        return true
    }

    /// The Lease, nil when there is none, and the server's time.
    func read() async throws(KubernetesError) -> (lease: KubernetesObject?, now: Timestamp) { try await lease.read() }

    /// Says that nothing but the Lease is left of the run, which is to stay for so long.
    func keep(seconds: Int) async throws(KubernetesError) {
        _ = try await lease.acquire(
            holder: run, seconds: seconds, annotations: [Self.repositoryAnnotation: ""])
    }

    /// Ends it, whoever of us holds it.
    func end(_ holder: String) async throws { try await lease.release(holder: holder, deletes: true) }
}
