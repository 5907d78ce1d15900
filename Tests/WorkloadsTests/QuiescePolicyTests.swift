import Kubernetes
import Testing
import Workloads

@Suite("What annotations ask of a backup")
struct QuiescePolicyTests {
    private func policy(_ annotations: [String: String]) throws -> QuiescePolicy? {
        var object = KubernetesObject(
            GroupVersionKind(group: "batch", version: "v1", kind: "Job"), namespace: "n", name: "j")
        for (key, value) in annotations { object.setAnnotation(key, value) }
        return try QuiescePolicy(of: object)
    }

    @Test("Nothing is asked without annotations")
    func none() throws {
        #expect(try policy([:]) == nil)
        #expect(try policy(["becalm.io/quiesced": "{}", "other": "x"]) == nil)
    }

    @Test("Each annotation is read")
    func whole() throws {
        #expect(
            try policy([
                BecalmAnnotation.consistency: "pause", BecalmAnnotation.checkpointTimeout: "1m30s",
                BecalmAnnotation.checkpointCommand: #"["/bin/save","--now","a b"]"#,
            ])
                == QuiescePolicy(
                    consistency: .pause, request: .command(["/bin/save", "--now", "a b"]),
                    timeout: GoDuration(seconds: 90)))
        #expect(try policy([BecalmAnnotation.checkpointCommand: "/save"])?.request == .command(["/save"]))
        #expect(try policy([BecalmAnnotation.checkpointSignal: "USR1"])?.request == .signal("SIGUSR1"))
        #expect(try policy([BecalmAnnotation.checkpointSignal: "SIGTERM"])?.request == .signal("SIGTERM"))
        #expect(
            try policy([BecalmAnnotation.checkpointHTTP: "POST 8080/persist/main?x=1"])?.request
                == .http(method: "POST", port: 8080, path: "/persist/main?x=1"))
        #expect(
            try policy([BecalmAnnotation.checkpointHTTP: "8080/save"])?.request
                == .http(method: "POST", port: 8080, path: "/save"))
        #expect(try policy([BecalmAnnotation.consistency: "stop"])?.request == nil)
        let drain = try policy([BecalmAnnotation.drain: "required", BecalmAnnotation.drainTimeout: "5m"])
        #expect(drain?.drain == .required && drain?.drainTimeout == GoDuration(seconds: 300))
        #expect(try policy([BecalmAnnotation.checkpointContainer: "c"])?.container == "c")
        #expect(try policy([BecalmAnnotation.override: "gitops, owned"])?.overrides == ["gitops", "owned"])
    }

    @Test(
        "What is misspelled is refused, with the object and the annotation",
        arguments: [
            (BecalmAnnotation.consistency, "Pause"), (BecalmAnnotation.consistency, ""),
            (BecalmAnnotation.checkpointCommand, ""), (BecalmAnnotation.checkpointCommand, "save now"),
            (BecalmAnnotation.checkpointCommand, "["), (BecalmAnnotation.checkpointCommand, "[]"),
            (BecalmAnnotation.checkpointCommand, "[1]"), (BecalmAnnotation.checkpointCommand, #"[""]"#),
            (BecalmAnnotation.checkpointSignal, "KILL"), (BecalmAnnotation.checkpointSignal, "10"),
            (BecalmAnnotation.checkpointSignal, "SIGSIGHUP"), (BecalmAnnotation.checkpointHTTP, "http://x/y"),
            (BecalmAnnotation.checkpointHTTP, "DELETE 80/x"), (BecalmAnnotation.checkpointHTTP, "80"),
            (BecalmAnnotation.checkpointHTTP, "70000/x"), (BecalmAnnotation.checkpointHTTP, "POST 80/a b"),
            (BecalmAnnotation.checkpointHTTP, "80/\u{e9}"), (BecalmAnnotation.checkpointTimeout, "10"),
            (BecalmAnnotation.checkpointTimeout, "0s"), (BecalmAnnotation.checkpointTimeout, "-1m"),
            (BecalmAnnotation.checkpointTimeout, "25h"), ("becalm.io/checkpoint-comand", "x"),
            (BecalmAnnotation.drain, "yes"), (BecalmAnnotation.drain, ""), (BecalmAnnotation.drainTimeout, "0s"),
            (BecalmAnnotation.drainTimeout, "25h"), ("becalm.io/drain-timout", "1m"),
            (BecalmAnnotation.checkpointContainer, ""), (BecalmAnnotation.override, ""),
            (BecalmAnnotation.override, "gitops,"), (BecalmAnnotation.override, "GitOps"),
            ("becalm.io/overide", "gitops"),
        ])
    func refused(key: String, value: String) {
        let error = #expect(throws: WorkloadError.self) { try policy([key: value]) }
        #expect(error?.message.contains("Job n/j") == true && error?.message.contains(key) == true)
        #expect(error?.message.contains("\n") == false)
    }

    @Test("Two ways to ask are refused")
    func twoWays() {
        #expect(throws: WorkloadError.self) {
            try policy([BecalmAnnotation.checkpointCommand: "/save", BecalmAnnotation.checkpointSignal: "USR1"])
        }
    }
}
