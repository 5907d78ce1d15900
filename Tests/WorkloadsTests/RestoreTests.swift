import Kubernetes
import Testing
import Workloads

@Suite("Workloads that are restored")
struct RestoreTests {
    @Test(
        "What a server or a controller wrote is gone, and the user's own spec stays",
        arguments: Fixtures.all.keys.sorted())
    func stripped(name: String) throws {
        var workload = try Fixtures.workload(name)
        try workload.prepareForRestore()
        let object = workload.object
        #expect(object["status"] == nil)
        for key in ["uid", "resourceVersion", "generation", "ownerReferences", "managedFields"] {
            #expect(object["metadata", .key(key)] == nil)
        }
        #expect(!object.finalizers.contains { $0.contains("ray.io") || $0.contains("kaito") || $0.contains("batch") })
        #expect(object.name == (try Fixtures.workload(name).object.name))
    }

    @Test("A Job loses what the server made of its uid, and nothing else")
    func job() throws {
        var workload = try Fixtures.workload("job")
        try workload.prepareForRestore()
        var expected = try Fixtures.workload("job").object
        for path: JSONPath in [
            ["status"], ["metadata", "uid"], ["metadata", "resourceVersion"], ["metadata", "generation"],
            ["metadata", "annotations"], ["spec", "selector"], ["metadata", "labels"],
            ["spec", "template", "metadata", "labels"],
        ] { expected.remove(at: path) }
        expected.setLabel("team", "a")
        try expected.set(["app": "trainer"], at: ["spec", "template", "metadata", "labels"])
        #expect(workload.object == expected)
    }

    @Test("A Job with a selector of its user's keeps it and its labels")
    func manualSelector() throws {
        var object = try Fixtures.workload("job").object
        try object.set(true, at: ["spec", "manualSelector"])
        var workload = try #require(WorkloadCatalog.standard.workload(object))
        try workload.prepareForRestore()
        #expect(workload.object["spec", "selector"] == object["spec", "selector"])
        #expect(workload.object["spec", "template", "metadata"] == object["spec", "template", "metadata"])
    }

    @Test(
        "A workload that was stored while it was stopped or held has its user's spec again",
        arguments: Fixtures.all.keys.sorted())
    func storedStopped(name: String) throws {
        var plain = try Fixtures.workload(name)
        var stopped = plain
        try plain.prepareForRestore()
        if case .fields = stopped.stop { try stopped.hold() }
        stopped.annotate(BecalmAnnotation.captured, "{}")
        _ = try stopped.gate()
        try stopped.prepareForRestore()
        // A pod's node is not kept for a pod that was held.
        var expected = plain.object
        if name == "pod" { expected.remove(at: ["spec", "nodeName"]) }
        #expect(stopped.object == expected)
    }

    @Test("What is held and let go again has its user's spec", arguments: Fixtures.all.keys.sorted())
    func gates(name: String) throws {
        var workload = try Fixtures.workload(name)
        try workload.prepareForRestore()
        if name == "pod" {
            // The gate takes the node away for good.
            #expect(workload.object["spec", "nodeName"] != nil)
        }
        let before = workload.object
        if let reason = try workload.gate() {
            #expect(["volcano", "workspace", "ragengine"].contains(name), "\(name): \(reason)")
            #expect(workload.object == before)
            return
        }
        #expect(workload.object.annotations[BecalmAnnotation.gated] != nil)
        let once = workload.object
        #expect(try workload.gate() == nil)
        #expect(workload.object == once)
        #expect(try workload.liftGate().isEmpty)
        var expected = before
        if name == "pod" { expected.remove(at: ["spec", "nodeName"]) }
        #expect(workload.object == expected)
    }

    @Test("A pod's gate keeps other gates, and only ours is lifted")
    func podGate() throws {
        var object = try Fixtures.workload("pod").object
        try object.set([["name": "other.io/gate"]], at: ["spec", "schedulingGates"])
        var workload = try #require(WorkloadCatalog.standard.workload(object))
        _ = try workload.gate()
        #expect(workload.object["spec", "schedulingGates"]?.array?.count == 2)
        #expect(workload.object["spec", "nodeName"] == nil)
        try workload.liftGate()
        #expect(workload.object["spec", "schedulingGates"] == [["name": "other.io/gate"]])
    }

    @Test(
        "What Kueue manages is held by Kueue's own gate, and where Kueue is served it alone starts it",
        arguments: [true, false])
    func kueueGate(isServed: Bool) throws {
        var object = try Fixtures.workload("job").object
        object.setLabel("kueue.x-k8s.io/queue-name", "gpu")
        object.setAnnotation("kueue.x-k8s.io/admission-gated-by", "example.com/quota")
        var workload = try #require(WorkloadCatalog.standard.workload(object))
        #expect(try workload.gate() == nil)
        #expect(
            workload.object.annotations["kueue.x-k8s.io/admission-gated-by"] == "example.com/quota,becalm.io/restore")
        #expect(workload.object["spec", "suspend"] == true)
        try workload.liftGate(kueueIsServed: isServed)
        #expect(workload.object.annotations["kueue.x-k8s.io/admission-gated-by"] == "example.com/quota")
        #expect(workload.object["spec", "suspend"] == .bool(isServed))
        #expect(workload.object.annotations[BecalmAnnotation.gated] == nil)
    }

    @Test("Of Kueue's marks, those of the cluster go and those of users stay")
    func kueueMarks() throws {
        var object = try Fixtures.workload("job").object
        for key in ["job-uid", "managed", "podset", "workload", "cluster-queue-name", "role-hash", "job-owner-gvk"] {
            object.setLabel("kueue.x-k8s.io/\(key)", "x")
            try object.set("x", at: ["spec", "template", "metadata", "annotations", .key("kueue.x-k8s.io/\(key)")])
        }
        object.setLabel("kueue.x-k8s.io/queue-name", "gpu")
        object.setLabel("kueue.x-k8s.io/priority-class", "high")
        object.finalizers = ["kueue.x-k8s.io/resource-in-use", "mine.io/f"]
        try object.set(
            [["name": "kueue.x-k8s.io/topology"], ["name": "mine.io/g"]],
            at: ["spec", "template", "spec", "schedulingGates"])
        var workload = try #require(WorkloadCatalog.standard.workload(object))
        try workload.prepareForRestore()
        let restored = workload.object
        #expect(
            restored.labels == [
                "team": "a", "kueue.x-k8s.io/queue-name": "gpu", "kueue.x-k8s.io/priority-class": "high",
            ])
        #expect(restored["spec", "template", "metadata", "annotations"] == nil)
        #expect(restored.finalizers == ["mine.io/f"])
        #expect(restored["spec", "template", "spec", "schedulingGates"] == [["name": "mine.io/g"]])
    }

    @Test("What Kueue patched into a TrainJob goes")
    func trainJob() throws {
        var workload = try Fixtures.workload("trainjob")
        try workload.prepareForRestore()
        #expect(workload.object["spec", "runtimePatches"]?.array?.map { $0["manager"] } == ["me.io/m"])
    }

    @Test("Numbers keep their spelling and unknown members stay")
    func fidelity() throws {
        let text =
            #"{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"x","namespace":"n","future":{"a":1.50}},"#
            + #""spec":{"big":9007199254740993,"suspend":false,"template":{"spec":{"x":1e3}}},"top":"<&>"}"#
        var workload = try #require(
            WorkloadCatalog.standard.workload(try KubernetesObject(parsing: Array(text.utf8))))
        try workload.prepareForRestore()
        _ = try workload.gate()
        let restored = String(decoding: workload.object.serialized(), as: UTF8.self)
        for piece in [#""big":9007199254740993"#, #"{"a":1.50}"#, #""x":1e3"#, #""suspend":true"#] {
            #expect(restored.contains(piece))
        }
    }

    @Test("A mark makes a workload ours; other annotations do not")
    func marks() throws {
        var workload = try Fixtures.workload("job")
        #expect(!workload.isMarked)
        workload.annotate("becalm.io/unheard-of", "x")
        #expect(!workload.isMarked)
        workload.annotate(BecalmAnnotation.consistency, "pause")
        #expect(workload.isMarked)
    }
}
