import Kubernetes
import Testing

@testable import Orchestration

@Suite("Which transfers are worked on")
struct TransferBoardTests {
    private let now = ContinuousClock.now

    private func transfer(
        _ name: String, phase: String = "", second: Int = 0, kind: String = "DataUpload",
        _ change: (inout KubernetesObject) -> Void = { _ in }
    ) throws -> Transfer {
        var object = try DataMoverWorld.object(
            """
            {apiVersion: velero.io/v2alpha1, kind: \(kind), metadata: {name: \(name), namespace: velero, uid: u-\(name),
             creationTimestamp: "2026-01-01T00:00:0\(second)Z"}, spec: {datamover: becalm}, status: {phase: "\(phase)"}}
            """)
        change(&object)
        return try #require(Transfer(object))
    }

    private func names(_ keys: [TransferBoard.Key]) -> [String] { keys.map(\.name) }

    @Test("So many are under way; the others stay New, and come in the order of their age")
    func queue() throws {
        var board = TransferBoard(concurrency: 2)
        let all = try [
            transfer("c", second: 3), transfer("a", second: 1), transfer("b", second: 2, kind: "DataDownload"),
        ]
        for one in all { board.put(one, at: now) }
        #expect(names(board.begin(at: now)) == ["a", "b"])
        #expect(board.begin(at: now).isEmpty)
        // Accepted: it keeps its place; a watch that is behind gives it to nobody else.
        let accepted = try transfer("a", phase: "Accepted", second: 1)
        board.ended(TransferBoard.Key(accepted), .init(transfer: accepted, pace: .after(seconds: 5)), at: now)
        board.put(try transfer("a", second: 1), at: now)
        #expect(names(board.begin(at: now)) == ["a"])
        let done = try transfer("a", phase: "Completed", second: 1)
        board.ended(TransferBoard.Key(done), .init(transfer: done, pace: .whenChanged), at: now)
        #expect(names(board.begin(at: now)) == ["c"])
    }

    @Test("One whose end is asked for, or that has left something, waits for no place")
    func urgent() throws {
        var board = TransferBoard(concurrency: 1)
        board.put(try transfer("busy", phase: "InProgress"), at: now)
        board.put(try transfer("new"), at: now)
        board.put(try transfer("stop") { try? $0.set(true, at: ["spec", "cancel"]) }, at: now)
        board.put(try transfer("left", phase: "Failed") { $0.finalizers = [DataMover.finalizer] }, at: now)
        board.put(try transfer("done", phase: "Completed"), at: now)
        #expect(Set(names(board.begin(at: now))) == ["busy", "stop", "left"])
    }

    @Test("A step that fails gives its place back; what changes during a step is looked at again")
    func changes() throws {
        var board = TransferBoard(concurrency: 1)
        let (first, second) = try (transfer("a", second: 1), transfer("b", second: 2))
        board.put(first, at: now)
        board.put(second, at: now)
        #expect(names(board.begin(at: now)) == ["a"])
        board.ended(TransferBoard.Key(first), .init(transfer: first, pace: .after(seconds: 60)), at: now)
        #expect(names(board.begin(at: now)) == ["b"])
        let changed = try transfer("b", phase: "Accepted", second: 2)
        board.put(changed, at: now)
        board.ended(TransferBoard.Key(second), .init(transfer: changed, pace: .whenChanged), at: now)
        #expect(names(board.begin(at: now)) == ["b"])
        board.remove(TransferBoard.Key(changed))
        board.ended(TransferBoard.Key(changed), .init(transfer: nil, pace: .whenChanged), at: now)
        board.sync(.upload, [], at: now)
        #expect(board.begin(at: now.advanced(by: .seconds(100))).isEmpty)
    }
}
