package import Basics
package import Kubernetes

/// What is being done to a workload, written down in its cluster so that any process can finish or undo it: a Lease beside
/// the workload, with a holder, an end, and annotations that say which objects are changed, before any of them is.
///
/// The server's clock counts. A journal is over when its holder's lease has ended or its deadline is past; whoever comes
/// next then undoes what it says. Who stops a workload by hand holds the lease until the deadline; a backup renews it.
package struct QuiesceJournal: Sendable {
    /// How far it is.
    package enum Step: String, Sendable, CaseIterable {
        /// The workload is spoken for; nothing is changed.
        case requested
        /// It is being asked for a checkpoint.
        case checkpointing
        /// It has written one.
        case checkpointed
        /// Gateways are told to send it nothing more, and it answers what it has begun.
        case draining
        /// Its fields are being changed.
        case stopping
        /// Nothing of it runs.
        case stopped
        /// Its volumes are taken.
        case captured
        /// Its fields are being put back.
        case resuming
    }

    /// What a journal says.
    package struct Entry: Sendable {
        /// `train/jobs.batch/run42`
        package var workload: WorkloadReference
        /// The workload's uid.
        package var uid: String
        package var step: Step
        package var consistency: QuiescePolicy.Consistency
        /// When it is let go whatever happens; nil when somebody must do it by hand.
        package var deadline: Timestamp?
        /// What is, or is about to be, changed.
        package var targets: [StopTarget]
        /// When each step began.
        package var times: [Step: Timestamp]
        /// Whether a person stopped it, who is not there to renew the lease.
        package var isManual: Bool
        package var lease: KubernetesLease.State
        /// When all its fields were back; nil while they are not, and where no routes wait for its pods then.
        package var letGo: Timestamp?
        /// What whoever put the fields back would say of them; nothing has been said yet while routes wait for its pods.
        package var remarks: [String] = []

        /// Whether anybody may undo it. Who waits for pods to be Ready, its fields put back, renews the lease however long
        /// they take: the deadline is met by then, and by no step before.
        package func isOver(at now: Timestamp) -> Bool {
            lease.end <= now || letGo == nil && deadline.map { $0 <= now } ?? false
        }
    }

    private static let label = "quiesce"
    private static let version = "1"
    /// Of a journal with targets that only who knows of drains can let go.
    private static let drainingVersion = "2"
    private static let attempts = 20
    /// Remarks that are kept at most: annotations have 256 KiB in all.
    private static let mostRemarks = 32

    private enum Key {
        static let version = "becalm.io/journal-version"
        static let workload = "becalm.io/workload"
        static let uid = "becalm.io/workload-uid"
        static let step = "becalm.io/step"
        static let consistency = "becalm.io/consistency"
        static let deadline = "becalm.io/deadline"
        static let targets = "becalm.io/targets"
        static let times = "becalm.io/times"
        static let manual = "becalm.io/by-hand"
        static let letGo = "becalm.io/let-go"
        static let remarks = "becalm.io/remarks"
    }

    package let client: KubernetesClient
    package let namespace: String
    private let lease: KubernetesLease

    /// The journal of a workload.
    package init(_ client: KubernetesClient, of workload: WorkloadReference) {
        self.init(client, namespace: workload.namespace, name: Self.name(of: workload))
    }

    private init(_ client: KubernetesClient, namespace: String, name: String) {
        self.client = client
        self.namespace = namespace
        lease = KubernetesLease(client, namespace: namespace, name: name)
    }

    /// `becalm-jobs.batch-run42`; what is too long for a name ends in a hash (FNV-1a) of all of it.
    static func name(of workload: WorkloadReference) -> String {
        let name = "becalm-\(workload.kind.lowercased())-\(workload.name)"
        guard name.utf8.count > 253 else { return name }
        return "\(name.prefix(236))-\(StableHash.hex(name.utf8))"
    }

    // MARK: Reading

    /// Every journal of a namespace, or of all where it is empty; those that cannot be read as errors beside them.
    package static func list(
        _ client: KubernetesClient, namespace: String
    ) async throws(KubernetesError) -> (entries: [(journal: QuiesceJournal, entry: Entry)], unreadable: [WorkloadError])
    {
        let labels = LabelSelector(matching: [BecalmAnnotation.journal: label])
        var entries: [(journal: QuiesceJournal, entry: Entry)] = []
        var unreadable: [WorkloadError] = []
        for lease in try await client.list(.leases, namespace: namespace, ListOptions(labels: labels)).items {
            do throws(WorkloadError) {
                let journal = QuiesceJournal(client, namespace: lease.namespace, name: lease.name)
                entries.append((journal, try entry(lease)))
            } catch {
                unreadable.append(error)
            }
        }
        return (entries, unreadable)
    }

    /// What it says, nil when there is none, and the server's time.
    package func read() async throws -> (entry: Entry?, now: Timestamp) {
        let (lease, now) = try await lease.read()
        return (try lease.map(Self.entry), now)
    }

    private static func entry(_ lease: KubernetesObject) throws(WorkloadError) -> Entry {
        let annotations = lease.annotations
        guard annotations[Key.version] == version || annotations[Key.version] == drainingVersion else {
            throw WorkloadError(
                "\(lease.label) was written by another version of Becalm, or by somebody else: use that version to resume "
                    + "the workload")
        }
        let malformed = WorkloadError(
            "\(lease.label) cannot be read: put the fields of the workload back by hand (its annotation "
                + "\(BecalmAnnotation.quiesced) says what they were) and delete it")
        guard let workload = try? WorkloadReference(parsing: annotations[Key.workload] ?? ""),
            let step = annotations[Key.step].flatMap(Step.init(rawValue:)),
            let consistency = annotations[Key.consistency].flatMap(QuiescePolicy.Consistency.init(rawValue:)),
            let list = try? JSONValue(parsing: annotations[Key.targets] ?? "").array,
            let times = try? JSONValue(parsing: annotations[Key.times] ?? "").object
        else { throw malformed }
        let targets = list.compactMap { StopTarget($0) }
        guard targets.count == list.count else { throw malformed }
        var began: [Step: Timestamp] = [:]
        for member in times.members {
            guard let step = Step(rawValue: member.key), let text = member.value.string else { continue }
            began[step] = CalendarTime.parse(rfc3339: text)
        }
        var deadline: Timestamp?
        if let text = annotations[Key.deadline], text != "none" {
            guard let time = CalendarTime.parse(rfc3339: text) else { throw malformed }
            deadline = time
        }
        return Entry(
            workload: workload, uid: annotations[Key.uid] ?? "", step: step, consistency: consistency,
            deadline: deadline, targets: targets, times: began, isManual: annotations[Key.manual] == "true",
            lease: KubernetesLease.state(lease),
            letGo: annotations[Key.letGo].flatMap { CalendarTime.parse(rfc3339: $0) },
            remarks: (annotations[Key.remarks].flatMap { try? JSONValue(parsing: $0).array } ?? []).compactMap(\.string)
        )
    }

    // MARK: Writing

    /// How a journal begins.
    struct Opening: Sendable {
        var holder: String
        var consistency: QuiescePolicy.Consistency
        /// Seconds from now until it is undone whatever happens.
        var deadlineSeconds: Double
        /// Whether the holder stays to renew the lease.
        var isManual: Bool
    }

    /// Seconds that a lease lasts which its holder renews, and between renewals.
    static let leaseSeconds = 60
    static let renewalSeconds = 20.0

    /// Begins it, or takes over what a dead holder has left: its targets stay, for they may have been changed. Throws
    /// `.busy` while somebody else holds it.
    func begin(
        _ live: LiveWorkload, _ opening: Opening, targets: [StopTarget]
    ) async throws -> Entry {
        let (old, now) = try await read()
        var targets = targets
        if let old {
            if old.lease.holder != opening.holder, !old.isOver(at: now) { throw busy(live, old) }
            let owner = TargetSwitch(client: client)
            for target in old.targets {
                // What was made anew meanwhile is among the others.
                if target.method != .drain, try await owner.isGone(target) { continue }
                targets = Self.merge([target], into: targets)
            }
        }
        let deadline = now.advanced(bySeconds: opening.deadlineSeconds)
        var entry = Entry(
            workload: live.reference, uid: live.object.uid, step: .requested, consistency: opening.consistency,
            deadline: deadline, targets: targets, times: [.requested: now], isManual: opening.isManual,
            lease: .init(holder: opening.holder, durationSeconds: 0, renewed: now, transitions: 0))
        let seconds = opening.isManual ? Int(opening.deadlineSeconds.rounded(.up)) : Self.leaseSeconds
        // A deadline that is past frees what a lease still holds.
        if let old, old.lease.holder != opening.holder, old.lease.end > now {
            entry.lease = try await takeOver(holder: opening.holder, force: false).lease
        }
        let acquisition = try await lease.acquire(
            holder: opening.holder, seconds: seconds,
            labels: [BecalmAnnotation.journal: Self.label, BecalmAnnotation.excluded: "true"],
            annotations: Self.annotations(entry))
        switch acquisition {
        case .acquired(let lease, _):
            entry.lease = KubernetesLease.state(lease)
            return entry
        case .held(let state):
            var other = entry
            other.lease = state
            other.deadline = state.end
            throw busy(live, other)
        }
    }

    /// Holds a workload longer that `holder` brought to a standstill by hand and that stands still yet: the deadline moves, to no
    /// earlier time, and with the consistency `stop` it goes; nothing else is changed or asked, for nothing of it runs. Nil where there
    /// is no such journal, and the workload is to be brought to a standstill. Throws `.busy` for the consistency `checkpoint`.
    package func extend(
        _ live: LiveWorkload, holder: String, consistency: QuiescePolicy.Consistency, deadlineSeconds: Double
    ) async throws -> Entry? {
        func isMeant(_ entry: Entry, _ now: Timestamp) -> Bool {
            entry.lease.holder == holder && entry.uid == live.object.uid && entry.isManual && entry.step == .stopped
                && !entry.isOver(at: now)
        }
        let (found, now) = try await read()
        guard let found, isMeant(found, now), try await Standstill(client, found).disturbance() == nil else {
            return nil
        }
        guard consistency != .checkpoint else {
            throw QuiesceError(
                .busy,
                "\(live.object.label) stands still for \(holder), and nothing of it runs that could write a checkpoint: let it go first, with 'becalm resume \(live.reference)'"
            )
        }
        return try await change(holder) { entry, now in
            guard isMeant(entry, now) else {
                throw QuiesceError(.lost, "\(entry.workload) is let go, or held by another: try again")
            }
            entry.deadline = entry.deadline.map { max($0, now.advanced(bySeconds: deadlineSeconds)) }
            if consistency == .stop { (entry.consistency, entry.deadline) = (.stop, nil) }
        }
    }

    private func busy(_ live: LiveWorkload, _ entry: Entry) -> QuiesceError {
        let until = entry.deadline.map { " until \(CalendarTime($0).text)" } ?? ""
        return QuiesceError(
            .busy,
            "\(live.object.label) is held by \(entry.lease.holder)\(until): wait for that, or end it with 'becalm resume "
                + "\(live.reference)'")
    }

    private static func annotations(_ entry: Entry) -> [String: String] {
        var times = JSONObject()
        for (step, time) in entry.times { times[step.rawValue] = .string(CalendarTime(time).microsecondText) }
        let targets = JSONValue.array(entry.targets.map(\.json)).serialized(escapingHTML: false)
        let began = JSONValue.object(times).serialized(escapingHTML: false)
        var annotations = [
            Key.version: entry.targets.contains { $0.method == .drain } ? drainingVersion : version,
            Key.workload: "\(entry.workload)", Key.uid: entry.uid, Key.step: entry.step.rawValue,
            Key.consistency: entry.consistency.rawValue,
            Key.deadline: entry.deadline.map { CalendarTime($0).text } ?? "none",
            Key.targets: String(decoding: targets, as: UTF8.self), Key.times: String(decoding: began, as: UTF8.self),
            Key.manual: entry.isManual ? "true" : "false",
            // Empty where there are none: a journal that is begun again has those of before no more.
            Key.letGo: entry.letGo.map { CalendarTime($0).microsecondText } ?? "",
            Key.remarks: "[]",
        ]
        if !entry.remarks.isEmpty {
            let remarks = JSONValue.array(entry.remarks.prefix(mostRemarks).map { .string($0) })
            annotations[Key.remarks] = String(decoding: remarks.serialized(escapingHTML: false), as: UTF8.self)
        }
        return annotations
    }

    /// Adds objects to those that are, or are about to be, changed. Throws `.lost` as `advance` does.
    func add(_ targets: [StopTarget], to entry: Entry) async throws -> Entry {
        var targets = targets
        for index in targets.indices {
            targets[index].held = try await TargetSwitch(client: client).held(targets[index], isNext: true)
        }
        return try await change(entry.lease.holder) { entry, _ in
            entry.targets = Self.merge(targets, into: entry.targets)
        }
    }

    /// Takes a route out again that was not changed, so that nobody has to undo it. Throws `.lost` as `advance` does.
    func remove(_ target: StopTarget, from entry: Entry) async throws -> Entry {
        try await change(entry.lease.holder) { entry, _ in
            entry.targets.removeAll { $0.uid == target.uid && $0.method == .drain }
        }
    }

    /// Objects of both lists, each once. A route keeps all pools that it is, or may be, closed to, and as many servers as
    /// there ever were.
    private static func merge(_ others: [StopTarget], into targets: [StopTarget]) -> [StopTarget] {
        var targets = targets
        for other in others {
            guard let index = targets.firstIndex(where: { $0.uid == other.uid }) else {
                targets.append(other)
                continue
            }
            targets[index].pools += other.pools.filter { !targets[index].pools.contains($0) }
            targets[index].servingPods = max(targets[index].servingPods, other.servingPods)
            targets[index].held = targets[index].held ?? other.held
        }
        return targets
    }

    /// Notes that an object is as it was: what it was counts no more, for its user may change it now. Throws `.lost` as
    /// `advance` does.
    func noteRestored(_ target: StopTarget, in entry: Entry) async throws -> Entry {
        try await change(entry.lease.holder) { entry, _ in
            for index in entry.targets.indices where entry.targets[index].uid == target.uid {
                entry.targets[index].held = nil
            }
        }
    }

    /// Notes that all fields are back, and what is to be said of them, while routes wait for pods. Throws `.lost` as
    /// `advance` does.
    func noteLetGo(_ entry: Entry, _ remarks: [String]) async throws -> Entry {
        try await change(entry.lease.holder) { entry, now in
            entry.letGo = entry.letGo ?? now
            entry.remarks += remarks.filter { !entry.remarks.contains($0) }
        }
    }

    /// Leaves the rest to whoever comes next, who need not wait for the lease to end.
    func pass(_ entry: Entry) async throws { _ = try await change(entry.lease.holder, seconds: 1) { _, _ in } }

    /// Writes down the next step; one that is done again has begun when it first did. What objects are before they are
    /// stopped is noted with it, and again as their annotations have it once they are. Throws `.lost` when the journal is another's
    /// by now, or gone.
    func advance(_ entry: Entry, to step: Step, keeping: Bool = false) async throws -> Entry {
        var held: [String: [HeldFields.Field]] = [:]
        if step == .stopping || step == .stopped {
            for target in entry.targets {
                held[target.uid] = try await TargetSwitch(client: client).held(target, isNext: step == .stopping)
            }
        }
        return try await change(entry.lease.holder) { entry, now in
            for index in entry.targets.indices {
                entry.targets[index].held = held[entry.targets[index].uid] ?? entry.targets[index].held
            }
            if entry.step != step || entry.times[step] == nil { entry.times[step] = now }
            entry.step = step
            // Whoever puts it back stays to renew the lease.
            if step == .resuming { entry.isManual = false }
            if keeping { entry.deadline = nil }
        }
    }

    /// Throws `.lost` when the journal is not `holder`'s any more, or gone.
    func check(holder: String) async throws {
        guard let entry = try await read().entry else { throw gone }
        guard entry.lease.holder == holder else { throw taken(entry) }
    }

    private var gone: QuiesceError {
        QuiesceError(.lost, "the Lease \(namespace)/\(lease.name) is gone: somebody has let the workload go")
    }

    private func taken(_ entry: Entry) -> QuiesceError {
        QuiesceError(.lost, "\(entry.workload) is held by \(entry.lease.holder) now, who will resume it")
    }

    /// Says that the holder is still there. Throws `.lost` when the journal is another's by now, or gone.
    func renew(_ entry: Entry) async throws { _ = try await change(entry.lease.holder) { _, _ in } }

    /// Makes `holder` the holder of a journal that is over, or of any with `force`. Throws `.busy` when it is not over any
    /// more.
    func takeOver(holder: String, force: Bool) async throws -> Entry {
        try await change(nil) { entry, now in
            guard force || entry.isOver(at: now) || entry.lease.holder == holder else {
                throw QuiesceError(.busy, "\(entry.workload) is held by \(entry.lease.holder) again")
            }
            entry.lease.holder = holder
            entry.isManual = false
            // Who takes over what was to stay means to end it, and so may whoever comes after a crash.
            entry.deadline = entry.deadline ?? now
        }
    }

    private func change(
        _ holder: String?, seconds fixed: Int? = nil, _ body: (inout Entry, Timestamp) throws -> Void
    ) async throws -> Entry {
        var attempt = 0
        while true {
            attempt += 1
            let (lease, now) = try await self.lease.read()
            guard var lease else { throw gone }
            var entry = try Self.entry(lease)
            if let holder, entry.lease.holder != holder {
                throw taken(entry)
            }
            try body(&entry, now)
            for (key, value) in Self.annotations(entry) { lease.setAnnotation(key, value) }
            let left = entry.deadline.map { max(1, Int(($0 - now).rounded(.up))) }
            let isKept = entry.deadline == nil && entry.step != .resuming
            let seconds =
                fixed ?? (entry.isManual ? left ?? Int(Int32.max) : isKept ? Int(Int32.max) : Self.leaseSeconds)
            do throws(JSONPathError) {
                try lease.set(.string(entry.lease.holder), at: ["spec", "holderIdentity"])
                try lease.set(.string(CalendarTime(now).microsecondText), at: ["spec", "renewTime"])
                try lease.set(.integer(seconds), at: ["spec", "leaseDurationSeconds"])
            } catch {
                throw WorkloadError("\(lease.label) is malformed: \(error); delete it")
            }
            do throws(KubernetesError) {
                entry.lease = KubernetesLease.state(try await client.update(.leases, lease))
                return entry
            } catch {
                guard error.code == .conflict, attempt < Self.attempts else { throw error }
            }
        }
    }

    /// Ends it: everything is as it was.
    func close(_ entry: Entry) async throws {
        try await lease.release(holder: entry.lease.holder, deletes: true)
    }
}
