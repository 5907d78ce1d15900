import Basics
import Testing
import Workloads

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Real processes of this machine, brought to a standstill and let go; one test at a time, for they fork all the while.
@Suite("Processes of this machine", .serialized, .timeLimit(.minutes(5)))
struct HostTests {
    /// Counts in a file, and forks all the time: what ends at once, and what stays for a while.
    private static let forking =
        #"touch "$1/up"; (while :; do sleep 0.3 & sleep 0.01; done) & i=0; while :; do i=$((i+1)); echo $i >"$1/count"; sleep 0.01; done"#

    private func started(_ script: String) async throws -> HostProcesses {
        let processes = try HostProcesses(script)
        try #require(await HostProcesses.waits { processes.file("up") != nil })
        return processes
    }

    @Test("All that a process forks while it is being stopped stands still too, until it is resumed")
    func forking() async throws {
        let processes = try await started(Self.forking)
        for _ in 0..<5 {
            let (record, journal) = try await processes.quiescer().quiesce(try processes.found())
            #expect(record.consistency == .pause && journal?.step == .stopped && journal?.isKept == true)
            let states = processes.states
            #expect(states.utf8.count >= 2 && states.allSatisfy { $0 == "T" }, "\(states)")
            let count = processes.file("count")
            try await Task.sleep(for: .milliseconds(50))
            #expect(processes.file("count") == count)
            _ = try processes.resumer().resume(processes.reference)
            #expect(await HostProcesses.waits { processes.file("count") != count && !processes.states.contains("T") })
            #expect(throws: WorkloadError.self) { try processes.resumer().resume(processes.reference) }
        }
    }

    @Test("What somebody else had stopped before stays stopped")
    func foreign() async throws {
        let processes = try await started(
            #"(exec -a sleeper sleep 1000) & kill -STOP $!; touch "$1/up"; while :; do sleep 0.1; done"#)
        try #require(await HostProcesses.waits { processes.states.contains("T") })
        let (record, _) = try await processes.quiescer().quiesce(try processes.found())
        #expect(record.remarks.contains { $0.contains("stopped by somebody else before") })
        _ = try processes.resumer().resume(processes.reference)
        #expect(await HostProcesses.waits { processes.states.filter { $0 == "T" }.count == 1 })
    }

    @Test("A journal of a number that has passed on to another process touches that one not")
    func reused() async throws {
        let processes = try await started(#"touch "$1/up"; while :; do sleep 0.1; done"#)
        _ = try await processes.quiescer().quiesce(try processes.found())
        // As if the journal's processes had ended, and these had got their numbers.
        let path = "state/host-\(processes.pid).json"
        let text = try #require(processes.file(path))
        processes.write(path, text.replacing(#/"start":(\d+)/#) { "\"start\":1\($0.1)" })
        let resumption = try processes.resumer().resume(processes.reference)
        #expect(resumption.remarks.contains { $0.contains("has ended while it was held") })
        #expect(processes.states.allSatisfy { $0 == "T" })
    }

    @Test("A journal whose holder is gone, or whose deadline is past, is undone by whoever comes; others are not")
    func expired() async throws {
        let processes = try await started(Self.forking)
        let clock = SettableClock()
        _ = try await processes.quiescer(clock: clock) { $0.common.deadlineSeconds = 100 }.quiesce(
            try processes.found())
        var sweep = try processes.resumer(clock: clock).resumeExpired()
        #expect(sweep.resumed.isEmpty && sweep.left == 1 && sweep.failed.isEmpty)
        #expect(processes.states.allSatisfy { $0 == "T" })
        await #expect(throws: QuiesceError.self) {
            try await processes.quiescer(clock: clock).quiesce(try processes.found())
        }
        clock.advance(101)
        sweep = try processes.resumer(clock: clock).resumeExpired()
        #expect(sweep.resumed.count == 1 && sweep.left == 0)
        #expect(await HostProcesses.waits { !processes.states.contains("T") })

        // One who died before he was done: nobody has his lock.
        _ = try await processes.quiescer(clock: clock).quiesce(try processes.found())
        let path = "state/host-\(processes.pid).json"
        let text = try #require(processes.file(path))
        processes.write(path, text.replacing(#""is_kept":true"#, with: #""is_kept":false"#))
        // A process that another test starts at this moment has the lock, too, until it is another program.
        #expect(
            await HostProcesses.waits {
                (try? processes.resumer(clock: clock).resumeExpired().resumed.count) == 1
            })
        #expect(await HostProcesses.waits { !processes.states.contains("T") })
    }

    @Test("A backup's hold is let go when its work ends, fails, or is undone by somebody else, and keeps others away")
    func holding() async throws {
        struct Broken: Error {}
        let processes = try await started(Self.forking)
        let quiescer = processes.quiescer { $0.common.isManual = false }
        let (states, record) = try await quiescer.holding(try processes.found()) { release in
            let states = processes.states
            #expect(throws: QuiesceError.self) { try processes.resumer().resume(processes.reference) }
            #expect(try processes.resumer().resumeExpired().left == 1)
            let record = try await release()
            #expect(record.pauseSeconds.map { $0 > 0 } == true)
            #expect(await HostProcesses.waits { !processes.states.contains("T") })
            return states
        }
        #expect(states.allSatisfy { $0 == "T" } && record.pauseSeconds.map { $0 > 0 } == true)
        await #expect(throws: Broken.self) {
            try await quiescer.holding(try processes.found()) { _ in throw Broken() }
        }
        #expect(await HostProcesses.waits { !processes.states.contains("T") })
        let error = await #expect(throws: QuiesceError.self) {
            try await quiescer.holding(try processes.found()) { _ in
                _ = try processes.resumer().resume(processes.reference, force: true)
                try await Task.sleep(for: .seconds(60))
            }
        }
        #expect(error?.code == .lost)
        let late = await #expect(throws: QuiesceError.self) {
            try await processes.quiescer {
                $0.common.isManual = false
                $0.common.deadlineSeconds = 1
            }.holding(try processes.found()) { _ in try await Task.sleep(for: .seconds(60)) }
        }
        #expect(late?.code == .notInTime)
        #expect(await HostProcesses.waits { !processes.states.contains("T") })
        #expect(try HostJournal.list(processes.state).entries.isEmpty)
    }

    @Test("A process has one holder, whatever it is called")
    func names() async throws {
        let processes = try await started(Self.forking)
        processes.write("pid", "\(processes.pid)\n")
        let named = WorkloadReference(namespace: "host", kind: "pid", name: "trainer")
        let other = try HostFinder.find(named, pidFile: processes.directory + "/pid")
        _ = try await processes.quiescer().quiesce(other)
        let error = await #expect(throws: QuiesceError.self) {
            try await processes.quiescer().quiesce(try processes.found())
        }
        #expect(error?.code == .busy && error?.message.contains("host/pid/trainer") == true)
        _ = try processes.resumer().resume(named)
    }

    // MARK: Checkpoints

    /// Sees the file `checkpoint` of a process's directory, which has the step.
    private struct FileObserver: CheckpointObserver {
        let processes: HostProcesses

        func newest() async throws -> SeenCheckpoint? {
            guard let step = processes.file("checkpoint").flatMap({ Int64($0.prefix { $0.isNumber }) }) else {
                return nil
            }
            return SeenCheckpoint(
                claim: "", path: "checkpoint", format: "test", step: step, modified: Timestamp(seconds: step))
        }

        func newer(than old: SeenCheckpoint?, seconds: Double) async throws -> SeenCheckpoint {
            while true {
                if let seen = try await newest(), seen.modified > old?.modified ?? Timestamp(seconds: 0) { return seen }
                try await Task.sleep(for: .milliseconds(10))
            }
        }
    }

    @Test("A checkpoint is asked for by a signal, and the process runs on once it is written")
    func signal() async throws {
        let processes = try await started(
            #"s=0; trap 's=$((s+1)); echo $s >"$1/checkpoint"' USR1; touch "$1/up"; while :; do sleep 0.1; done"#)
        for step in 1...2 {
            let (record, journal) = try await processes.quiescer(observer: FileObserver(processes: processes)) {
                $0.common.policy = QuiescePolicy(consistency: .checkpoint, request: .signal("SIGUSR1"))
            }.quiesce(try processes.found())
            #expect(record.after?.step == Int64(step) && journal == nil)
            #expect(record.request == "signal SIGUSR1, first ranks")
        }
        #expect(try HostJournal.list(processes.state).entries.isEmpty)
    }

    @Test("A process without a handler is not sent a signal that would end it, and runs on")
    func noHandler() async throws {
        let processes = try await started(Self.forking)
        for ranks in QuiescePolicy.Ranks.allCases {
            let error = await #expect(throws: QuiesceError.self) {
                try await processes.quiescer(observer: FileObserver(processes: processes)) {
                    $0.common.policy = QuiescePolicy(consistency: .pause, request: .signal("SIGUSR1"))
                    $0.common.policy.ranks = ranks
                }.quiesce(try processes.found())
            }
            #expect(error?.code == .checkpoint && error?.message.contains("no handler") == true)
        }
        #expect(!processes.states.contains("T") && !processes.states.isEmpty)
        #expect(try HostJournal.list(processes.state).entries.isEmpty)
    }

    @Test("A process that ends instead of writing its checkpoint is told of, and nothing is left")
    func dies() async throws {
        let processes = try await started(#"trap 'exit 3' USR1; touch "$1/up"; while :; do sleep 0.1; done"#)
        let error = await #expect(throws: QuiesceError.self) {
            try await processes.quiescer(observer: FileObserver(processes: processes)) {
                $0.common.policy = QuiescePolicy(consistency: .pause, request: .signal("SIGUSR1"))
            }.quiesce(try processes.found())
        }
        #expect(error?.code == .checkpoint && error?.message.contains("has ended before it wrote") == true)
        #expect(try HostJournal.list(processes.state).entries.isEmpty)
    }

    @Test("A command is believed, and what it says is in the record; one that fails is not")
    func command() async throws {
        let processes = try await started(Self.forking)
        func record(_ words: [String]) async throws -> QuiesceRecord {
            try await processes.quiescer {
                $0.common.policy = QuiescePolicy(consistency: .checkpoint, request: .command(words))
            }.quiesce(try processes.found()).record
        }
        let asked = try await record(["/bin/sh", "-c", "test -d /proc/$BECALM_PID"])
        #expect(asked.answers.map(\.text) == ["exit 0"] && asked.remarks.contains { $0.contains("nobody looked") })
        let error = await #expect(throws: QuiesceError.self) { try await record(["/bin/false"]) }
        #expect(error?.code == .checkpoint)
        let unanswered = await #expect(throws: QuiesceError.self) {
            try await processes.quiescer {
                $0.common.policy = QuiescePolicy(consistency: .checkpoint, request: .file("/tmp/never"))
            }.quiesce(try processes.found())
        }
        #expect(unanswered?.code == .refused && unanswered?.message.contains("--checkpoint-directory") == true)
    }

    // MARK: Ending and beginning

    @Test("A process is not stopped for good when nobody says how it begins again")
    func noStart() async throws {
        let processes = try await started(Self.forking)
        let error = await #expect(throws: QuiesceError.self) {
            try await processes.quiescer { $0.common.policy.consistency = .stop }.quiesce(try processes.found())
        }
        #expect(error?.code == .refused && error?.message.contains("--start-command") == true)
        #expect(!processes.states.isEmpty)
    }

    @Test("A process that was told to end and has ended is started again, once")
    func stop() async throws {
        let processes = try await started(
            #"trap 'echo saved >"$1/saved"; exit 0' TERM; touch "$1/up"; while :; do sleep 0.1; done"#)
        let start = ["/bin/sh", "-c", "echo x >>\(processes.directory)/started"]
        let (record, journal) = try await processes.quiescer {
            $0.common.policy.consistency = .stop
            $0.startCommand = start
        }.quiesce(try processes.found())
        #expect(record.consistency == .stop && journal?.deadline == nil && journal?.isKept == true)
        #expect(processes.states.isEmpty && processes.file("saved") == "saved\n")
        #expect(try processes.resumer().resumeExpired().left == 1)
        _ = try processes.resumer().resume(processes.reference)
        #expect(processes.file("started") == "x\n")

        #expect(throws: WorkloadError.self) { try processes.resumer().resume(processes.reference) }
    }

    @Test("A process that ignores the end is told of in time, not killed, and begins again once it has ended")
    func stubborn() async throws {
        let processes = try await started(#"trap '' TERM; touch "$1/up"; while :; do sleep 0.1; done"#)
        let error = await #expect(throws: QuiesceError.self) {
            try await processes.quiescer {
                $0.common.policy.consistency = .stop
                $0.common.stopSeconds = 1
                $0.startCommand = ["/bin/sh", "-c", "echo x >>\(processes.directory)/started"]
            }.quiesce(try processes.found())
        }
        #expect(error?.code == .notInTime)
        #expect(!processes.states.isEmpty)
        let pending = #expect(throws: QuiesceError.self) { try processes.resumer().resume(processes.reference) }
        #expect(pending?.code == .notResumed)
        kill(-processes.pid, SIGKILL)
        #expect(await HostProcesses.waits { processes.states.isEmpty })
        _ = try processes.resumer().resume(processes.reference)
        #expect(processes.file("started") == "x\n")
    }

    @Test("A start that may have begun is not begun again by itself")
    func startedTwice() async throws {
        let processes = try await started(#"touch "$1/up"; while :; do sleep 0.1; done"#)
        _ = try await processes.quiescer {
            $0.common.policy.consistency = .stop
            $0.startCommand = ["/bin/sh", "-c", "echo x >>\(processes.directory)/started"]
        }.quiesce(try processes.found())
        let path = "state/host-\(processes.pid).json"
        let text = try #require(processes.file(path))
        processes.write(path, text.replacing(#""is_starting":false"#, with: #""is_starting":true"#))
        #expect(throws: QuiesceError.self) { try processes.resumer().resume(processes.reference) }
        let resumption = try processes.resumer().resume(processes.reference, force: true)
        #expect(resumption.remarks.contains { $0.contains("nothing was started") })
        #expect(processes.file("started") == nil)
    }

    // MARK: Names

    @Test("A pid file that is older than the process, that others may write to, or that names none, is refused")
    func pidFiles() async throws {
        let processes = try await started(#"touch "$1/up"; while :; do sleep 0.1; done"#)
        let named = WorkloadReference(namespace: "host", kind: "pid", name: "trainer")
        let path = processes.directory + "/pid"
        processes.write("pid", "\(processes.pid)\n")
        #expect(try HostFinder.find(named, pidFile: path).root.pid == processes.pid)
        var times = [timespec(tv_sec: 1_000_000, tv_nsec: 0), timespec(tv_sec: 1_000_000, tv_nsec: 0)]
        utimensat(AT_FDCWD, path, &times, 0)
        let old = #expect(throws: WorkloadError.self) { try HostFinder.find(named, pidFile: path) }
        #expect(old?.message.contains("began after") == true)
        processes.write("pid", "\(processes.pid)\n")
        chmod(path, 0o666)
        #expect(throws: WorkloadError.self) { try HostFinder.find(named, pidFile: path) }
        chmod(path, 0o644)
        for text in ["", "x", "-1", "0", "99999999999", "1 2", "4194305"] {
            processes.write("pid", text)
            #expect(throws: WorkloadError.self, "\(text)") { try HostFinder.find(named, pidFile: path) }
        }
        #expect(throws: WorkloadError.self) { try HostFinder.find(named, pidFile: nil) }
    }

    @Test("Who has started this becalm is not stopped by it")
    func own() {
        let reference = WorkloadReference(namespace: "host", kind: "pid", name: "\(getppid())")
        let error = #expect(throws: WorkloadError.self) { try HostFinder.find(reference, pidFile: nil) }
        #expect(error?.message.contains("has started this becalm") == true)
    }

    @Test("Journals that others could have written are not believed")
    func foreignDirectory() async throws {
        let processes = try await started(Self.forking)
        _ = try await processes.quiescer().quiesce(try processes.found())
        chmod(processes.state.path, 0o777)
        #expect(throws: QuiesceError.self) { try processes.resumer().resume(processes.reference) }
        chmod(processes.state.path, 0o700)
        let path = "state/host-\(processes.pid).json"
        chmod("\(processes.directory)/\(path)", 0o666)
        #expect(throws: WorkloadError.self) { try processes.resumer().resume(processes.reference) }
        chmod("\(processes.directory)/\(path)", 0o600)
        let text = try #require(processes.file(path))
        processes.write(path, String(text.dropLast(40)))
        #expect(throws: WorkloadError.self) { try processes.resumer().resume(processes.reference) }
        #expect(try processes.resumer().resumeExpired().failed.count == 1)
        processes.write(path, text)
        _ = try processes.resumer().resume(processes.reference)
        #expect(await HostProcesses.waits { !processes.states.contains("T") })
    }
}
