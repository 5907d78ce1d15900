internal import Basics
internal import Kubernetes
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Brings a process of this machine, with all that it has started, to a standstill at a consistent point, and lets it go.
///
/// Every step is in the journal before it is taken. Whatever goes wrong on the way, a cancelled task included, the process
/// is let go before the error is thrown; what a killed becalm leaves, its watcher undoes, or `HostResumer`.
package struct HostQuiescer: Sendable {
    private let directory: HostStateDirectory
    private let options: HostQuiesceOptions
    private let observer: (any CheckpointObserver)?
    private let report: @Sendable (QuiesceEvent) -> Void

    /// `observer` sees the directories of its checkpoints; without one, only what answers (a command, an HTTP request) can be
    /// asked for a checkpoint, and is believed. `report` is told of steps as they begin, from any task.
    package init(
        _ directory: HostStateDirectory, options: HostQuiesceOptions, observer: (any CheckpointObserver)? = nil,
        report: @escaping @Sendable (QuiesceEvent) -> Void = { _ in }
    ) {
        self.directory = directory
        self.options = options
        self.observer = observer
        self.report = report
    }

    // MARK: The two ways

    /// Brings it to a standstill and leaves it so until the deadline or, with the consistency `stop`, until somebody resumes
    /// it. With `checkpoint` nothing is left: the journal is nil.
    package func quiesce(
        _ workload: HostWorkload
    ) async throws -> (record: QuiesceRecord, journal: HostJournal.Entry?) {
        try await undoing(try await begin(workload)) { hold in
            let record = try await still(hold)
            if record.consistency == .checkpoint { return (try await letGo(hold, record), nil) }
            let kept = try await change(hold, .stopped) {
                $0.isKept = true
                if $0.consistency == .stop { $0.deadline = nil }
            }
            return (record, kept)
        }
    }

    /// Brings it to a standstill and runs `body`, which lets it go with the function that it is given as soon as it can; that
    /// answers the final record, and does nothing with the consistency `stop`. `body` is cancelled at the deadline, and when
    /// somebody else lets the process go.
    package func holding<R: Sendable>(
        _ workload: HostWorkload,
        _ body: @escaping @Sendable (@escaping @Sendable () async throws -> QuiesceRecord) async throws -> R
    ) async throws -> (result: R, record: QuiesceRecord) {
        try await undoing(try await begin(workload)) { hold in
            let record = try await still(hold)
            if record.consistency != .checkpoint { _ = try await change(hold, .stopped) }
            let release: @Sendable () async throws -> QuiesceRecord = { try await self.finish(hold, record) }
            let result = try await body(release)
            return (result, try await release())
        }
    }

    /// Lets it go after its data is read, once; with `stop` it stays stopped.
    private func finish(_ hold: Hold, _ record: QuiesceRecord) async throws -> QuiesceRecord {
        if let ended = hold.ended { return ended }
        let captured = try await change(hold, .captured) {
            guard record.consistency == .stop else { return }
            $0.isKept = true
            $0.deadline = nil
        }
        var record = record
        record.times = captured.times
        if record.consistency == .stop {
            hold.end(record)
            return record
        }
        return try await letGo(hold, record)
    }

    // MARK: Steps

    /// What is had of a workload while it is held.
    private final class Hold: Sendable {
        let workload: HostWorkload
        let journal: HostJournal
        let opening: String
        let policy: QuiescePolicy
        /// Ours until it is let go.
        private let lock: HostLock
        private let line: Pipe
        private let state = Mutex<(record: QuiesceRecord?, isEnding: Bool)>((nil, false))

        init(
            _ workload: HostWorkload, _ journal: HostJournal, _ opening: String, _ policy: QuiescePolicy,
            _ lock: HostLock, _ line: Pipe
        ) {
            self.workload = workload
            self.journal = journal
            self.opening = opening
            self.policy = policy
            self.lock = lock
            self.line = line
        }

        /// The record, once there is nothing to undo any more.
        var ended: QuiesceRecord? { state.withLock { $0.record } }
        /// Whether the journal may go because of ourselves.
        var isEnding: Bool { state.withLock { $0.isEnding } }

        func beginEnd() { state.withLock { $0.isEnding = true } }
        func end(_ record: QuiesceRecord) { state.withLock { $0 = (record, true) } }
    }

    private func begin(_ workload: HostWorkload) async throws -> Hold {
        let directory = directory
        let line = try Pipe()
        let hold = try await BlockingBridge.offload(name: "becalm-journal") {
            Result { try self.open(workload, line) }
        }
        report(.step(.requested))
        guard !options.watcher.isEmpty, hold.policy.consistency != .checkpoint else { return hold }
        let words = ["becalm"] + options.watcher.dropFirst() + ["\(workload.reference)", hold.opening]
        let program = options.watcher[0]
        let environment = options.environment
        return try await undoing(hold) { hold in
            try await BlockingBridge.offload(name: "becalm-watcher") {
                Result {
                    let watcher = try DetachedProcess(
                        words, program: program, environment: environment, directory: "/", input: line.reader,
                        log: directory.log)
                    _ = try hold.journal.change(hold.opening) { $0.watcher = watcher.identity }
                    return hold
                }
            }
        }
    }

    /// Looks whether it can be done at all, and opens the journal. Blocks.
    private func open(_ workload: HostWorkload, _ line: Pipe) throws -> Hold {
        var policy = options.common.policy
        let consistency = policy.consistency ?? .pause
        policy.consistency = consistency
        try workload.reference.checkHostName()
        if consistency == .stop, options.startCommand.isEmpty {
            throw QuiesceError(
                .refused,
                "\(workload.label) is not stopped, for nobody could start it again: say how with --start-command, or use --consistency pause"
            )
        }
        guard let handle = try ProcessHandle(workload.root) else { throw Self.ended(workload) }
        if consistency != .checkpoint { try handle.send(0) }
        try directory.prepare()
        let journal = HostJournal(directory, of: workload.reference)
        let opening = String(UInt64.random(in: 1...UInt64.max), radix: 16)
        let now = options.clock.now()
        var entry = HostJournal.Entry(
            workload: workload.reference, opening: opening, boot: HostFacts.boot, holder: options.common.holder,
            consistency: consistency, step: .requested,
            deadline: now.advanced(bySeconds: options.common.deadlineSeconds), times: [.requested: now],
            root: workload.root)
        entry.startCommand = consistency == .stop ? options.startCommand : []
        entry.directory = options.directory
        let opened = entry
        return try directory.locked {
            try self.makeRoom(for: opened)
            guard let lock = try journal.hold() else {
                throw QuiesceError(.busy, "\(workload.reference) is being held by another becalm: wait for it")
            }
            try journal.write(opened)
            return Hold(workload, journal, opening, policy, lock, line)
        }
    }

    private static func ended(_ workload: HostWorkload) -> QuiesceError {
        QuiesceError(.refused, "\(workload.label) has ended: there is nothing to bring to a standstill")
    }

    /// Undoes what others have left of the same name, or of the same process under another; throws `.busy` for what they
    /// hold. Within `locked`.
    private func makeRoom(for entry: HostJournal.Entry) throws {
        let resumer = HostResumer(directory, environment: options.environment, clock: options.clock)
        for name in try directory.names() {
            let journal = HostJournal(
                directory, of: WorkloadReference(namespace: WorkloadReference.host, kind: "pid", name: name))
            let isSameName = name == entry.workload.name
            let other: HostJournal.Entry?
            do throws(WorkloadError) { other = try journal.read() } catch {
                // Another's that cannot be read may be of the same process only if it has another name for it.
                if isSameName { throw error }
                continue
            }
            guard let other, isSameName || other.root == entry.root && other.boot == entry.boot else { continue }
            guard other.isOver(at: options.clock.now(), isHeld: try journal.isHeld()) else {
                let until = other.deadline.map { " until \(CalendarTime($0).text)" } ?? ""
                throw QuiesceError(
                    .busy,
                    "\(other.workload) is held by \(other.holder)\(until): wait for that, or end it with 'becalm resume \(other.workload)'"
                )
            }
            if case .pending(let words) = try resumer.undo(journal, other) { throw QuiesceError(.busy, words) }
        }
    }

    /// Writes down the next step, and what `more` changes.
    private func change(
        _ hold: Hold, _ step: QuiesceJournal.Step,
        _ more: @escaping @Sendable (inout HostJournal.Entry) -> Void = { _ in }
    ) async throws -> HostJournal.Entry {
        let now = options.clock.now()
        let entry = try await BlockingBridge.offload(name: "becalm-journal") {
            Result {
                try hold.journal.change(hold.opening) {
                    $0.step = step
                    if $0.times[step] == nil { $0.times[step] = now }
                    more(&$0)
                }
            }
        }
        return entry
    }

    /// Asks for a checkpoint and stops the process, as far as either is wanted.
    private func still(_ hold: Hold) async throws -> QuiesceRecord {
        let consistency = hold.policy.consistency ?? .pause
        var record = QuiesceRecord(workload: hold.workload.reference, consistency: consistency)
        if let request = hold.policy.request {
            try await checkpoint(hold, request, &record)
        } else if consistency == .checkpoint {
            remark(QuiesceRecord.notAsked, &record)
        }
        if consistency != .checkpoint {
            report(.step(.stopping))
            record.stopped = ContinuousClock().now
            record.times = try await change(hold, .stopping).times
            if consistency == .pause { try await pause(hold, &record) } else { try await stop(hold) }
            report(.step(.stopped))
        }
        record.times = try hold.journal.read()?.times ?? record.times
        return record
    }

    private func checkpoint(
        _ hold: Hold, _ request: QuiescePolicy.Request, _ record: inout QuiesceRecord
    ) async throws {
        let ranks = hold.policy.ranks ?? .first
        let seconds = hold.policy.timeout.map { Double($0.nanoseconds) / 1e9 } ?? options.common.checkpointSeconds
        if observer == nil, !request.isAnswered {
            throw QuiesceError(
                .refused,
                "\(hold.workload.reference) is to be asked by \(request.words), which does not say when the checkpoint is written: name the directory of its checkpoints with --checkpoint-directory"
            )
        }
        report(.step(.checkpointing))
        _ = try await change(hold, .checkpointing)
        record.before = try await observer?.newest()
        record.request = "\(request.words), \(ranks.rawValue) ranks"
        let requester = HostRequester(workload: hold.workload, environment: options.environment)
        record.answers = try await requester.ask(request, ranks, seconds: seconds)
        if let observer {
            record.after = try await newer(hold, observer, record.before, seconds, &record.remarks)
        } else {
            remark(
                "nobody looked whether the checkpoint is complete: what was asked for it said that it is done", &record)
        }
        report(.step(.checkpointed))
        _ = try await change(hold, .checkpointed)
    }

    private func remark(_ text: String, _ record: inout QuiesceRecord) {
        record.remarks.append(text)
        report(.remark(text))
    }

    /// The checkpoint that comes; one that the process wrote before it ended counts.
    private func newer(
        _ hold: Hold, _ observer: any CheckpointObserver, _ old: SeenCheckpoint?, _ seconds: Double,
        _ remarks: inout [String]
    ) async throws -> SeenCheckpoint {
        let root = hold.workload.root
        let seen = try await withThrowingTaskGroup(of: SeenCheckpoint?.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await observer.newer(than: old, seconds: seconds) }
            group.addTask {
                // As long as it is there, only the other task says that there is no checkpoint.
                while try await ProcessHandle(root)?.waitForEnd(seconds: 3600) == false {}
                return nil
            }
            return try await group.next() ?? nil
        }
        if let seen { return seen }
        guard let last = try await observer.newest(), old.map({ last.modified > $0.modified }) ?? true else {
            throw QuiesceError(
                .checkpoint, "\(hold.workload.label) has ended before it wrote a complete checkpoint")
        }
        let words = "\(hold.workload.reference) has ended after it wrote its checkpoint"
        remarks.append(words)
        report(.remark(words))
        return last
    }

    // MARK: Standing still

    /// Seconds between looks at processes on their way to a stop: no event tells of it.
    private static let lookSeconds = 0.02

    private func pause(_ hold: Hold, _ record: inout QuiesceRecord) async throws {
        let clock = ContinuousClock()
        let end = clock.now.advanced(by: .seconds(options.common.stopSeconds))
        var pause = HostPause(hold.workload, hold.journal, opening: hold.opening)
        while true {
            let taken = pause
            let (looked, left) = try await BlockingBridge.offload(name: "becalm-pause") {
                Result {
                    var pause = taken
                    let left = try pause.look()
                    return (pause, left)
                }
            }
            pause = looked
            if left.isEmpty { break }
            guard clock.now < end else {
                throw QuiesceError(
                    .notInTime,
                    "\(hold.workload.label) does not stand still after \(Int(options.common.stopSeconds)) s: \(left.prefix(3).joined(separator: "; ")); give it more time with --stop-timeout (state D waits for a disk, a network file system or a driver)"
                )
            }
            try await Task.sleep(for: .seconds(Self.lookSeconds))
        }
        if let words = pause.remark { remark(words, &record) }
    }

    /// Tells it to end, and waits until nothing of it is left. What does not end is not killed.
    private func stop(_ hold: Hold) async throws {
        let clock = ContinuousClock()
        let end = clock.now.advanced(by: .seconds(options.common.stopSeconds))
        var known: [ProcessIdentity] = []
        var isTold = false
        while true {
            let members = hold.workload.members(try ProcessTable(), known: known)
            if members.isEmpty { return }
            known = Array(Set(known).union(members.map(\.identity)))
            let (identities, tells) = (known, !isTold)
            _ = try await BlockingBridge.offload(name: "becalm-stop") {
                Result {
                    try hold.journal.change(hold.opening) {
                        $0.processes = identities
                    } then: {
                        if tells { try ProcessHandle(hold.workload.root)?.send(SIGTERM) }
                    }
                }
            }
            isTold = true
            let left = clock.now.duration(to: end) / .seconds(1)
            guard left > 0 else {
                let labels = members.prefix(3).map(\.label).joined(separator: ", ")
                throw QuiesceError(
                    .notInTime,
                    "\(hold.workload.label) has not ended \(Int(options.common.stopSeconds)) s after SIGTERM: \(labels) runs; it was not killed, and 'becalm resume \(hold.workload.reference)' starts it again once it has ended"
                )
            }
            // Looked again each second: those that have started more may end before these.
            _ = try await ProcessHandle(members[0].identity)?.waitForEnd(seconds: min(left, 1))
        }
    }

    // MARK: Letting go

    private func letGo(_ hold: Hold, _ begun: QuiesceRecord) async throws -> QuiesceRecord {
        report(.step(.resuming))
        hold.beginEnd()
        var record = begun
        let resumer = HostResumer(directory, environment: options.environment, clock: options.clock)
        let undoing = try await BlockingBridge.offload(name: "becalm-resume") {
            Result { try resumer.undo(hold.journal, opening: hold.opening) }
        }
        guard case .resumed(let resumption) = undoing else {
            throw QuiesceError(
                .lost,
                "somebody has let \(hold.workload.reference) go before it was to be: what was read is not consistent")
        }
        record.pauseSeconds = record.stopped.map { $0.duration(to: ContinuousClock().now) / .seconds(1) } ?? 0
        record.times = resumption.times
        for words in resumption.remarks { remark(words, &record) }
        hold.end(record)
        return record
    }

    /// Runs `body` until the deadline, while nobody else lets the process go; whatever it throws, the process is let go
    /// first. A cancelled task does so too.
    private func undoing<R: Sendable>(
        _ hold: Hold, _ body: @escaping @Sendable (Hold) async throws -> R
    ) async throws -> R {
        do {
            return try await guarded(hold) { try await body(hold) }
        } catch {
            guard hold.ended == nil else { throw error }
            let resumer = HostResumer(directory, environment: options.environment, clock: options.clock)
            // Not the cancelled task's: it has to be done all the same.
            let undoing = OwnedTask<Void, any Error> {
                _ = try await BlockingBridge.offload(name: "becalm-resume") {
                    Result { try resumer.undo(hold.journal, opening: hold.opening) }
                }
            }
            if case .failure(let left) = await undoing.outcome() {
                throw QuiesceError(
                    .notResumed,
                    "\(error); and it could not be let go: \(left); 'becalm resume \(hold.workload.reference)' does it, or 'becalm resume --expired' once its deadline is past",
                    cause: error)
            }
            throw error
        }
    }

    /// Seconds between looks whether the journal is still ours.
    private static let guardSeconds = 1.0

    private func guarded<R: Sendable>(
        _ hold: Hold, _ body: @escaping @Sendable () async throws -> R
    ) async throws -> R {
        let seconds = options.common.deadlineSeconds
        let late = KubernetesError(.timedOut, "\(hold.workload.label) was held for \(Int(seconds)) s, its deadline")
        do {
            return try await withThrowingTaskGroup(of: R?.self) { group in
                defer { group.cancelAll() }
                group.addTask { try await Deadline.run(seconds: seconds, or: late, body) }
                group.addTask {
                    while true {
                        do { try await Task.sleep(for: .seconds(Self.guardSeconds)) } catch { return nil }
                        do { try hold.journal.check(hold.opening) } catch {
                            // The body lets it go.
                            if hold.isEnding || Task.isCancelled { return nil }
                            throw error
                        }
                    }
                }
                while let ended = try await group.next() {
                    if let result = ended { return result }
                }
                throw CancellationError()
            }
        } catch let error as KubernetesError where error.message == late.message {
            throw QuiesceError(
                .notInTime, "\(late.message), and it runs again: give it more time with --deadline", cause: error)
        }
    }
}

extension QuiescePolicy.Request {
    /// Whether who is asked says when it is done.
    var isAnswered: Bool {
        switch self {
        case .command, .http: true
        case .signal, .file: false
        }
    }
}
