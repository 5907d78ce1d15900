import Basics
import Kubernetes
import Orchestration
import RepositoryFormat
import Testing
import Workloads

@Suite("What a restore goes on from")
struct RecoveryPointTests {
    private func state(
        _ path: String, _ step: Int64?, _ judgement: String = "complete", kind: String = "checkpoint", at seconds: Int64
    ) -> StateInventory.State {
        var state = StateInventory.State(path: path, kind: kind, format: "dcp", judgement: judgement)
        state.step = step
        state.modified = seconds * 1_000_000_000
        return state
    }

    @Test("The newest complete checkpoint of all volumes counts, and the greatest step of any, left out or not")
    func newest() {
        var first = StateInventory()
        first.states = [
            state("run/step-100", 100, at: 1000), state("run/step-120", 120, at: 2000),
            state("run/step-130", 130, "torn", at: 2500), state("model", 999, kind: "model", at: 9000),
        ]
        var second = StateInventory()
        second.states = [state("old/step-90", 90, at: 500)]
        let taken = Timestamp(seconds: 2600)
        var point = RecoveryPoint([("a", first), ("b", second)], taken: taken)
        #expect(point.checkpoint?.claim == "a" && point.checkpoint?.step == 120)
        #expect(point.lostSteps == 10 && point.lostSeconds == 600)
        second.leftOutStep = 140
        point = RecoveryPoint([("a", first), ("b", second)], taken: taken)
        #expect(point.lostSteps == 20)
    }

    @Test("Without a complete checkpoint there is none; one that was begun says that there are any at all")
    func none() {
        var inventory = StateInventory()
        inventory.states = [state("m", nil, kind: "model", at: 5)]
        let taken = Timestamp(seconds: 9)
        #expect(RecoveryPoint([("", inventory)], taken: taken).words.hasPrefix("no checkpoint was found"))
        inventory.leftOutStep = 3
        #expect(RecoveryPoint([("", inventory)], taken: taken).words.hasPrefix("no checkpoint is complete"))
    }

    @Test("What is on a block device is not known, whatever is seen elsewhere")
    func devices() {
        var inventory = StateInventory()
        inventory.states = [state("run/step-9", 9, at: 5)]
        var point = RecoveryPoint([("a", inventory)], taken: Timestamp(seconds: 9))
        point.devices = ["x", "y"]
        #expect(point.words.hasPrefix("the last complete checkpoint is step 9"))
        #expect(point.words.hasSuffix("; what x and y hold, block devices, is not known"), "\(point.words)")
        #expect(point.json["devices"] == ["x", "y"])
    }

    @Test("A snapshot's manifest keeps what a record says")
    func standstill() {
        let workload = WorkloadReference(namespace: "host", kind: "pid", name: "trainer")
        var record = QuiesceRecord(workload: workload, consistency: .pause)
        record.request = "signal SIGUSR1, first ranks"
        record.answers = [("process 7", "sent SIGUSR1")]
        record.times = [.stopping: Timestamp(seconds: 100)]
        record.pauseSeconds = 1.5
        let seen = SeenCheckpoint(
            claim: "", path: "run/step-9", format: "dcp", step: 9, modified: Timestamp(seconds: 40))
        record.recovery = RecoveryPoint(
            checkpoint: seen, furthestStep: 9, hasCheckpoints: true, taken: Timestamp(seconds: 100))
        let standstill = WorkloadStandstill(record)
        #expect(standstill.workload == "host/pid/trainer" && standstill.consistency == "pause")
        #expect(standstill.answers == ["process 7: sent SIGUSR1"] && standstill.pauseSeconds == 1.5)
        #expect(standstill.lastComplete?.step == 9 && standstill.lostSeconds == 60 && standstill.lostSteps == nil)
        #expect(standstill.times == ["stopping": "1970-01-01T00:01:40.000000Z"])
    }
}
