import Basics
import ObjectStorage
import Synchronization

extension ObjectStoreConformance {
    static let conditions: [Check] = [
        Check("create-if-absent refuses what exists", applies: \.createIfAbsent) { subject in
            let key = subject.key("once")
            let receipt = try await subject.store.put(key, bytes: [1], options: PutOptions(condition: .ifAbsent))
            try await subject.expectFailure([.preconditionFailed], "the second put") {
                try await subject.store.put(key, bytes: [2], options: PutOptions(condition: .ifAbsent))
            }
            try await subject.expectContent(key, [1])
            try subject.expect(try await subject.store.head(key).tag == receipt.tag, "the refused put changed the tag")
            try await subject.store.delete(key, ifTag: nil)
            try await subject.store.put(key, bytes: [3], options: PutOptions(condition: .ifAbsent))
            try await subject.expectContent(key, [3])
        },
        Check("of sixteen that create at once exactly one succeeds", applies: \.createIfAbsent) { subject in
            for round in 0..<12 {
                let key = subject.key("race/\(round)")
                let winners = try await createAtOnce(subject, key, tasks: 16)
                try subject.expect(winners.count == 1, "\(winners.count) of 16 created \(key)")
                try await subject.expectContent(key, [UInt8](repeating: winners[0], count: 1000))
            }
        },
        Check("replace-if-tag refuses another tag", applies: \.replaceIfTag) { subject in
            let key = subject.key("compared")
            let first = try await subject.store.put(key, bytes: [1])
            let second = try await subject.store.put(key, bytes: [2], options: PutOptions(condition: .ifTag(first.tag)))
            try subject.expect(first.tag != second.tag, "the tag did not change")
            try await subject.expectFailure([.preconditionFailed], "put with a stale tag") {
                try await subject.store.put(key, bytes: [3], options: PutOptions(condition: .ifTag(first.tag)))
            }
            try await subject.expectContent(key, [2])
            try await subject.store.delete(key, ifTag: nil)
            try await subject.expectFailure([.preconditionFailed, .notFound], "put with the tag of what is gone") {
                try await subject.store.put(key, bytes: [4], options: PutOptions(condition: .ifTag(second.tag)))
            }
            try await subject.expectAbsent(key)
        },
        Check("compare-and-swap loses no update", applies: \.replaceIfTag) { subject in
            let key = subject.key("counter")
            try await subject.store.put(key, bytes: [0])
            try await subject.inParallel(Array(0..<8)) { _ in
                for _ in 0..<5 { try await increment(subject, key) }
            }
            try await subject.expectContent(key, [40])
        },
        Check("delete-if-tag spares what was put anew", applies: \.conditionalDelete) { subject in
            let key = subject.key("spared")
            let first = try await subject.store.put(key, bytes: [1])
            let second = try await subject.store.put(key, bytes: [2])
            try await subject.expectFailure([.preconditionFailed], "delete with a stale tag") {
                try await subject.store.delete(key, ifTag: first.tag)
            }
            try await subject.expectContent(key, [2])
            try await subject.store.delete(key, ifTag: second.tag)
            try await subject.expectAbsent(key)
        },
        Check("retention can be put on an object and prolonged", applies: \.retention) { subject in
            // Governance and a few seconds, so that a real store is not littered for long. Whether a locked object can be
            // deleted depends on the store's versioning; no check of all stores.
            let now = try await subject.store.serverTime()
            let short = Retention(mode: .governance, until: now.advanced(bySeconds: 3))
            let long = Retention(mode: .governance, until: now.advanced(bySeconds: 5))
            try await subject.store.put(subject.key("kept"), bytes: [1], options: PutOptions(retention: short))
            try await subject.store.extendRetention(subject.key("kept"), long)
            try await subject.store.put(subject.key("later"), bytes: [2])
            try await subject.store.extendRetention(subject.key("later"), short)
            try await subject.expectContent(subject.key("kept"), [1])
            try await subject.expectFailure([.notFound], "extending the retention of nothing") {
                try await subject.store.extendRetention(
                    subject.key("none"), Retention(mode: .governance, until: now.advanced(bySeconds: 3)))
            }
        },
        Check("a store without retention says so", applies: { !$0.retention }) { subject in
            let retention = Retention(mode: .governance, until: Timestamp(seconds: 4_000_000_000))
            try await subject.expectFailure([.unsupported], "put with retention") {
                try await subject.store.put(subject.key("a"), bytes: [1], options: PutOptions(retention: retention))
            }
            try await subject.store.put(subject.key("b"), bytes: [1])
            try await subject.expectFailure([.unsupported], "extending retention") {
                try await subject.store.extendRetention(subject.key("b"), retention)
            }
            try await subject.expectAbsent(subject.key("a"))
        },
    ]

    /// Lets so many tasks create `key`, each with bytes of its own; the numbers of those that succeeded.
    private static func createAtOnce(_ subject: ConformanceSubject, _ key: String, tasks: Int) async throws -> [UInt8] {
        try await withThrowingTaskGroup(of: Bool.self, returning: [UInt8].self) { group in
            let winners = Winners()
            for index in 0..<UInt8(tasks) {
                group.addTask { try await winners.add(index, if: create(subject, key, index)) }
            }
            try await group.waitForAll()
            return winners.all
        }
    }

    /// Whether this caller created the object; a store may answer `.conflict` while another is at it.
    private static func create(_ subject: ConformanceSubject, _ key: String, _ index: UInt8) async throws -> Bool {
        let body = ObjectBody([Buffer([UInt8](repeating: index, count: 1000))])
        while true {
            let result = await outcome { () throws(ObjectStorageError) in
                try await subject.store.put(key, body, options: PutOptions(condition: .ifAbsent))
            }
            switch result {
            case .success: return true
            case .failure(let error) where error.code == .preconditionFailed: return false
            case .failure(let error) where error.code != .conflict: throw error
            case .failure: await Task.yield()
            }
        }
    }

    /// Adds one to the number that the object holds, however often others come first.
    private static func increment(_ subject: ConformanceSubject, _ key: String) async throws {
        while true {
            let buffer = Buffer(capacity: 1)
            let attributes = try await subject.store.get(key, range: nil, into: buffer, maximumBytes: 1)
            let options = PutOptions(condition: .ifTag(attributes.tag))
            let next = buffer.bytes[0] + 1
            // Lets the others read the same number.
            await Task.yield()
            let result = await outcome { () throws(ObjectStorageError) in
                try await subject.store.put(key, bytes: [next], options: options)
            }
            switch result {
            case .success: return
            case .failure(let error) where error.code != .preconditionFailed && error.code != .conflict: throw error
            case .failure: await Task.yield()
            }
        }
    }

    private static func outcome(
        _ body: () async throws(ObjectStorageError) -> PutReceipt
    ) async -> Result<PutReceipt, ObjectStorageError> {
        do throws(ObjectStorageError) {
            return .success(try await body())
        } catch {
            return .failure(error)
        }
    }
}

/// Who won, in any order.
private final class Winners: Sendable {
    private let numbers = Mutex<[UInt8]>([])

    var all: [UInt8] { numbers.withLock { $0 } }

    func add(_ number: UInt8, if won: Bool) -> Bool {
        if won { numbers.withLock { $0.append(number) } }
        return won
    }
}
