package import Basics

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Lets processes of this machine go that somebody stopped: by their journals, whoever wrote them.
package struct HostResumer: Sendable {
    private let directory: HostStateDirectory
    private let environment: [String: String]
    private let clock: any WallClock

    /// `environment` is for what starts a process again.
    package init(
        _ directory: HostStateDirectory, environment: [String: String], clock: any WallClock = SystemWallClock()
    ) {
        self.directory = directory
        self.environment = environment
        self.clock = clock
    }

    /// What became of a journal.
    enum Undoing: Sendable {
        case resumed(Resumer.Resumption)
        /// It was told to end, and has not: it cannot be started again yet. In words.
        case pending(String)
    }

    /// Lets one go. What a person stopped, anyone may; what a backup holds that is at work, only with `force`. That also
    /// ends the journal of a process that does not end, or whose start may have begun, without starting anything. Throws `.busy`,
    /// `.notResumed`, and `WorkloadError` when nothing holds it. Blocks.
    package func resume(_ reference: WorkloadReference, force: Bool = false) throws -> Resumer.Resumption {
        guard directory.exists else { throw Self.notHeld(reference) }
        return try directory.locked {
            let journal = HostJournal(directory, of: reference)
            guard let entry = try journal.read() else { throw Self.notHeld(reference) }
            let isHeld = try journal.isHeld()
            guard force || entry.isKept || entry.isOver(at: clock.now(), isHeld: isHeld) else {
                throw QuiesceError(
                    .busy,
                    "\(reference) is held by \(entry.holder), which is at work (step \(entry.step.rawValue)): wait for it, or let go with --force"
                )
            }
            switch try undo(journal, entry, force: force) {
            case .resumed(let resumption): return resumption
            case .pending(let words): throw QuiesceError(.notResumed, words)
            }
        }
    }

    private static func notHeld(_ reference: WorkloadReference) -> WorkloadError {
        WorkloadError(
            "\(reference) is not held by Becalm, as far as this user's journals say: there is nothing to resume")
    }

    /// What came of letting all of those go that are over.
    package struct Sweep: Sendable {
        package var resumed: [Resumer.Resumption] = []
        /// What could not be let go, and why.
        package var failed: [(workload: String, error: any Error)] = []
        /// How many are not over yet.
        package var left = 0
    }

    /// Lets every process go whose journal is over. One that cannot be let go does not keep the others. Blocks.
    package func resumeExpired() throws -> Sweep {
        var sweep = Sweep()
        let (entries, unreadable) = try HostJournal.list(directory)
        for error in unreadable { sweep.failed.append(("", error)) }
        for listed in entries {
            do {
                try directory.locked {
                    let journal = HostJournal(directory, of: listed.workload)
                    guard let entry = try journal.read() else { return }
                    guard entry.isOver(at: clock.now(), isHeld: try journal.isHeld()) else {
                        sweep.left += 1
                        return
                    }
                    switch try undo(journal, entry) {
                    case .resumed(let resumption): sweep.resumed.append(resumption)
                    case .pending: sweep.left += 1
                    }
                }
            } catch {
                sweep.failed.append(("\(listed.workload)", error))
            }
        }
        return sweep
    }

    /// Undoes the journal that `opening` opened; nil when it is gone, or another's. Blocks.
    func undo(_ journal: HostJournal, opening: String) throws -> Undoing? {
        try directory.locked {
            guard let entry = try journal.read(), entry.opening == opening else { return nil }
            return try undo(journal, entry)
        }
    }

    /// Puts back what a journal says, and ends it. Done again after a crash, it does what is left. Within `locked`.
    func undo(_ journal: HostJournal, _ old: HostJournal.Entry, force: Bool = false) throws -> Undoing {
        var entry = old
        let isSameBoot = entry.boot == HostFacts.boot
        var remarks: [String] = []
        let wasStopping = entry.times[.stopping] != nil
        if entry.consistency == .stop, wasStopping {
            let alive = isSameBoot ? ([entry.root] + entry.processes).first(where: ProcessTable.isAlive) : nil
            if let alive, !force {
                entry.isKept = true
                try journal.write(entry)
                return .pending(
                    "\(entry.workload) was told to end and \(alive) has not: it was not killed; once it has ended, 'becalm resume \(entry.workload)' starts it again ('--force' forgets about it)"
                )
            }
            if entry.isStarting || alive != nil {
                let words = "`\(entry.startCommand.joined(separator: " "))`"
                guard force else {
                    throw QuiesceError(
                        .notResumed,
                        "\(entry.workload): \(words) was run, or was about to be, when becalm died: see whether it runs, start it if not, and end the journal with 'becalm resume \(entry.workload) --force'"
                    )
                }
                remarks.append("nothing was started: see whether \(entry.workload) runs, and run \(words) if not")
            } else {
                try start(journal, &entry)
            }
        } else {
            entry.step = .resuming
            entry.times[.resuming] = clock.now()
            try journal.write(entry)
            if isSameBoot {
                try HostPause.release(entry)
                if wasStopping, !ProcessTable.isAlive(entry.root) {
                    remarks.append("\(entry.workload): \(entry.root) has ended while it was held")
                }
            } else if wasStopping {
                remarks.append(
                    "this machine was started anew since \(entry.workload) was stopped: its processes are gone")
            }
        }
        try journal.remove()
        if let watcher = entry.watcher, isSameBoot, watcher.pid != HostFacts.ownPID {
            // One that cannot be told finds its journal gone, at the latest at its deadline.
            _ = try? ProcessHandle(watcher)?.send(SIGTERM)
        }
        let pause = entry.times[.stopping].map { max(0, clock.now() - $0) } ?? 0
        return .resumed(
            Resumer.Resumption(
                workload: entry.workload, pauseSeconds: pause, times: entry.times, remarks: remarks))
    }

    /// Seconds in which a command that starts a process may fail; one that runs longer is the process itself.
    private static let startSeconds = 3.0

    private func start(_ journal: HostJournal, _ entry: inout HostJournal.Entry) throws {
        entry.step = .resuming
        entry.times[.resuming] = clock.now()
        entry.isStarting = true
        try journal.write(entry)
        do {
            let started = try DetachedProcess(
                entry.startCommand, environment: environment, directory: entry.directory, input: nil,
                log: directory.log)
            if let end = started.end(within: Self.startSeconds), !end.isGood {
                throw QuiesceError(
                    .notResumed,
                    "\(entry.workload) is not started again: `\(entry.startCommand[0])` ended with \(end.words); \(directory.log) has what it said"
                )
            }
        } catch {
            // It does not run, so it may be tried again.
            entry.isStarting = false
            try journal.write(entry)
            throw error
        }
    }
}
