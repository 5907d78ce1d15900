import Basics
import Kubernetes
import Testing
import Workloads

@Suite("Policy files")
struct PolicyFileTests {
    private func file(_ text: String) throws -> PolicyFile {
        try PolicyFile(parsing: Array(text.utf8), source: "p.yaml")
    }

    @Test("The first rule whose three patterns fit is a workload's")
    func first() throws {
        let file = try file(
            """
            workloads:
              - match: train/*/run?
                consistency: checkpoint
                checkpointSignal: USR1
                checkpointTimeout: 90s
                checkpointRanks: first
                checkpointContainer: main
                drain: required
                drainTimeout: 5m
                override: gitops,owned
              - match: "*/jobs.batch/*"
                checkpointCommand: [/save, --now]
              - match: host/pid/trainer
                pidFile: /run/trainer.pid
                directories: [/data/run42]
                startCommand: [systemctl, start, trainer]
                checkpointHTTP: POST 8080/save
            """)
        let kinds: Set = ["jobs.batch", "jobs", "Job"]
        let rule = try #require(file.rule(namespace: "train", kinds: kinds, name: "run1"))
        #expect(rule.policy.consistency == .checkpoint && rule.policy.request == .signal("SIGUSR1"))
        #expect(rule.policy.timeout == GoDuration(seconds: 90) && rule.policy.ranks == .first)
        #expect(rule.policy.container == "main")
        #expect(rule.policy.drain == .required && rule.policy.drainTimeout == GoDuration(seconds: 300))
        #expect(rule.policy.overrides == ["gitops", "owned"])
        #expect(
            file.rule(namespace: "train", kinds: kinds, name: "run42")?.policy.request == .command(["/save", "--now"]))
        #expect(file.rule(namespace: "x", kinds: ["jobs.batch.volcano.sh", "Job"], name: "y") == nil)
        let process = try #require(file.rule(for: WorkloadReference(parsing: "host/pid/trainer")))
        #expect(process.pidFile == "/run/trainer.pid" && process.directories == ["/data/run42"])
        #expect(process.startCommand == ["systemctl", "start", "trainer"])
        #expect(process.policy.request == .http(method: "POST", port: 8080, path: "/save"))
    }

    @Test(
        "Patterns are of whole names",
        arguments: [
            ("*", "anything", true), ("run*", "run", true), ("run*", "prun", false), ("*a*b*", "xaxbx", true),
            ("*a*b", "xaxbx", false), ("?", "", false), ("??", "ab", true), ("a", "b", false), ("**", "", true),
            ("*********************************************b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ])
    func patterns(pattern: String, name: String, fits: Bool) throws {
        let file = try file("workloads: [{match: 'n/job/\(pattern)'}]")
        #expect((file.rule(namespace: "n", kinds: ["Job"], name: name) != nil) == fits)
    }

    @Test(
        "What is misspelled is refused, with the place and what there is",
        arguments: [
            ("workload: []", "workloads"), ("workloads: {}", "workloads"), ("[]", "workloads"), ("a: [", "p.yaml"),
            ("workloads: []\nother: 1", "other"), ("workloads: [x]", "workload 1"), ("workloads: [{}]", "match"),
            ("workloads: [{match: a/b}]", "match"), ("workloads: [{match: a//c}]", "match"),
            ("workloads: [{match: a/b/c, consistancy: pause}]", "checkpointTimeout, consistency"),
            ("workloads: [{match: a/b/c, consistency: Pause}]", "consistency is"),
            ("workloads: [{match: a/b/c, checkpointSignal: KILL}]", "checkpointSignal is"),
            ("workloads: [{match: a/b/c, checkpointTimeout: 10}]", "checkpointTimeout is"),
            ("workloads: [{match: a/b/c, checkpointSignal: USR1, checkpointFile: /x}]", "2 ways"),
            ("workloads: [{match: a/b/c, pidFile: run.pid}]", "pidFile is"),
            ("workloads: [{match: a/b/c, directories: /data}]", "directories is"),
            ("workloads: [{match: a/b/c, startCommand: [1]}]", "startCommand is"),
        ])
    func refused(text: String, word: String) {
        let error = #expect(throws: WorkloadError.self) { try file(text) }
        #expect(error?.message.contains("p.yaml") == true && error?.message.contains(word) == true, "\(error as Any)")
        #expect(error?.message.contains("\n") == false)
    }

    @Test("Options come before annotations, and these before the file, member by member")
    func order() throws {
        let options = QuiescePolicy(consistency: .stop)
        var annotations = QuiescePolicy(consistency: .pause, request: .file("/a"))
        annotations.container = "a"
        var file = QuiescePolicy(consistency: .checkpoint, request: .file("/f"), timeout: GoDuration(seconds: 5))
        file.ranks = .first
        file.container = "f"
        let policy = options.filled(from: annotations).filled(from: file)
        #expect(policy.consistency == .stop && policy.request == .file("/a"))
        #expect(policy.timeout == GoDuration(seconds: 5) && policy.ranks == .first && policy.container == "a")
    }
}

@Suite("Recovery points")
struct RecoveryPointTests {
    private func point(_ step: Int64?, furthest: Int64?, age: Double) -> RecoveryPoint {
        let taken = Timestamp(seconds: 1_800_000_000)
        return RecoveryPoint(
            checkpoint: SeenCheckpoint(
                claim: "data", path: "run/checkpoint", format: "x", step: step,
                modified: taken.advanced(bySeconds: -age)),
            furthestStep: furthest, hasCheckpoints: true, taken: taken)
    }

    @Test("It says what is lost, as far as anything was seen")
    func words() {
        let both = point(120, furthest: 135, age: 720)
        #expect(both.lostSteps == 15 && both.lostSeconds == 720)
        #expect(
            both.words
                == "the last complete checkpoint is step 120 of 2027-01-15T07:48:00Z (data/run/checkpoint); what was computed in the 12 min since then, at least 15 steps, is lost if it is restored"
        )
        let time = point(nil, furthest: nil, age: 30)
        #expect(time.lostSteps == nil && time.words.contains("in the 30 s since then is lost"))
        #expect(point(5, furthest: 5, age: 8000).words.contains("2 h 13 min"))
        #expect(point(5, furthest: 5, age: -3).words.contains("nothing that is known is lost"))
        #expect(point(5, furthest: 6, age: 0).words.contains("at least 1 step,"))
        var none = RecoveryPoint(checkpoint: nil, furthestStep: 7, hasCheckpoints: true, taken: Timestamp(seconds: 0))
        #expect(none.words.hasPrefix("no checkpoint is complete") && none.lostSeconds == nil)
        none.hasCheckpoints = false
        #expect(none.words.hasPrefix("no checkpoint was found"))
    }
}
