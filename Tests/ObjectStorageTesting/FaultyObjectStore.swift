package import Basics
package import ObjectStorage
internal import Synchronization

/// Passes everything on until a fault is due: the n-th call that fits a rule fails, hangs, lies, or is the last one
/// before the "machine" dies.
///
/// For "crash after every k-th put": count the mutations of an undisturbed run with `mutations`, then for each k run
/// again with `crash(atMutation: k)` and look at what the base holds.
package final class FaultyObjectStore: ForwardingObjectStore {
    /// What happens instead of, or besides, the call.
    package enum Fault: Sendable {
        /// Throws; the base is not asked.
        case fail(ObjectStorageError.Code)
        /// The call takes effect, and then throws as if its answer was lost.
        case loseAnswer(ObjectStorageError.Code)
        /// Waits until the task is cancelled, then throws `.cancelled`; the base is not asked.
        case hang
        /// Answers success to a `put`, `delete` or `extendRetention` and does nothing. Other calls pass.
        case pretend
        /// Flips a bit in the middle of what is put or got. Other calls pass.
        case corrupt
        /// Drops the second half of what is put or got. Other calls pass.
        case truncate
        /// Throws this very error; the base is not asked.
        case error(ObjectStorageError)
        /// From now on every call fails with `.failed`. With `takingEffect`, this call still reaches the base.
        case crash(takingEffect: Bool)
    }

    private struct Rule {
        var matches: @Sendable (StoreRequest) -> Bool
        var fault: Fault
        var skip: Int
        var times: Int
    }

    private struct State {
        var rules: [Rule] = []
        var ordinal = 0
        var mutation = 0
        var hasCrashed = false
        var before: (@Sendable (StoreRequest) -> Void)?
        var after: (@Sendable (StoreRequest) -> Void)?
    }

    package let base: any ObjectStore
    private let state = Mutex(State())
    private let hanging = HangingCalls()

    /// A store in front of `base` without faults.
    package init(_ base: any ObjectStore) { self.base = base }

    /// From the `at`-th call on that satisfies `predicate` (counted from now), `times` of them suffer `fault`.
    /// Of several rules that fit, the one added first is followed.
    package func inject(
        _ fault: Fault, at: Int = 1, times: Int = 1, where predicate: @escaping @Sendable (StoreRequest) -> Bool
    ) {
        precondition(at >= 1 && times >= 1)
        state.withLock { $0.rules.append(Rule(matches: predicate, fault: fault, skip: at - 1, times: times)) }
    }

    /// As `inject` with a predicate, for all calls of one kind.
    package func inject(_ fault: Fault, on operation: StoreRequest.Operation, at: Int = 1, times: Int = 1) {
        inject(fault, at: at, times: times) { $0.operation == operation }
    }

    /// The `k`-th call that changes something (counted over the store's life) is the last that reaches the base, or with
    /// `takingEffect: false` the first that does not; that call and all that follow fail.
    package func crash(atMutation k: Int, takingEffect: Bool = true) {
        inject(.crash(takingEffect: takingEffect)) { $0.operation.isMutation && $0.mutation >= k }
    }

    /// Calls `body` before the base is asked for a change.
    package func beforeMutation(_ body: @escaping @Sendable (StoreRequest) -> Void) {
        state.withLock { $0.before = body }
    }

    /// Calls `body` when the base has made a change.
    package func afterMutation(_ body: @escaping @Sendable (StoreRequest) -> Void) {
        state.withLock { $0.after = body }
    }

    /// Calls so far.
    package var operations: Int { state.withLock { $0.ordinal } }
    /// Calls so far that change something.
    package var mutations: Int { state.withLock { $0.mutation } }
    /// Whether a crash has happened.
    package var hasCrashed: Bool { state.withLock { $0.hasCrashed } }

    /// Forgets the rules and comes back to life; the counts go on.
    package func heal() {
        state.withLock { state in
            state.rules = []
            state.hasCrashed = false
        }
    }

    /// Returns once `count` calls have begun to hang, counted over the store's life.
    package func waitUntilHanging(_ count: Int = 1) async { await hanging.wait(for: count) }

    package func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        let request = StoreRequest(operation: .put, key: key, bytes: body.count, condition: options.condition)
        return try await perform(request) { (fault) throws(ObjectStorageError) in
            switch fault {
            case .pretend: return PutReceipt(tag: "pretended", date: try await self.base.serverTime())
            case .corrupt: return try await self.base.put(key, body.corrupted, options: options)
            case .truncate: return try await self.base.put(key, body.truncated, options: options)
            default: return try await self.base.put(key, body, options: options)
            }
        }
    }

    package func get(
        _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> ObjectAttributes {
        try await perform(StoreRequest(operation: .get, key: key, range: range)) { (fault) throws(ObjectStorageError) in
            let attributes = try await self.base.get(key, range: range, into: buffer, maximumBytes: maximumBytes)
            switch fault {
            case .corrupt: if buffer.count > 0 { buffer.storage[buffer.count / 2] ^= 0x10 }
            case .truncate: buffer.count /= 2
            default: break
            }
            return attributes
        }
    }

    package func head(_ key: String) async throws(ObjectStorageError) -> ObjectAttributes {
        try await perform(StoreRequest(operation: .head, key: key)) { (_) throws(ObjectStorageError) in
            try await self.base.head(key)
        }
    }

    package func list(prefix: String, token: String?) async throws(ObjectStorageError) -> ObjectPage {
        try await perform(StoreRequest(operation: .list, key: prefix)) { (_) throws(ObjectStorageError) in
            try await self.base.list(prefix: prefix, token: token)
        }
    }

    package func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError) {
        let condition = ifTag.map { PutCondition.ifTag($0) } ?? .none
        let request = StoreRequest(operation: .delete, key: key, condition: condition)
        try await perform(request) { (fault) throws(ObjectStorageError) in
            if case .pretend = fault { return }
            try await self.base.delete(key, ifTag: ifTag)
        }
    }

    package func extendRetention(_ key: String, _ retention: Retention) async throws(ObjectStorageError) {
        try await perform(StoreRequest(operation: .extendRetention, key: key)) { (fault) throws(ObjectStorageError) in
            if case .pretend = fault { return }
            try await self.base.extendRetention(key, retention)
        }
    }

    package func serverTime() async throws(ObjectStorageError) -> Timestamp {
        try await perform(StoreRequest(operation: .serverTime, key: "")) { (_) throws(ObjectStorageError) in
            try await self.base.serverTime()
        }
    }

    private func perform<R>(
        _ unnumbered: StoreRequest, _ body: (Fault?) async throws(ObjectStorageError) -> R
    ) async throws(ObjectStorageError) -> R {
        var request = unnumbered
        let (fault, before, after) = try begin(&request)
        switch fault {
        case .fail(let code): throw failure(code, request)
        case .error(let error): throw error
        case .crash(takingEffect: false): throw failure(.failed, request)
        case .hang:
            await hanging.hang()
            throw failure(.cancelled, request)
        default: break
        }
        if request.operation.isMutation { before?(request) }
        let result = try await body(fault)
        if request.operation.isMutation { after?(request) }
        switch fault {
        case .loseAnswer(let code): throw failure(code, request, isAmbiguous: true)
        case .crash(takingEffect: true): throw failure(.failed, request, isAmbiguous: true)
        default: return result
        }
    }

    private typealias Callback = (@Sendable (StoreRequest) -> Void)?

    /// Numbers the request and finds what it will suffer.
    private func begin(_ request: inout StoreRequest) throws(ObjectStorageError) -> (Fault?, Callback, Callback) {
        let (numbered, fault, hasCrashed, before, after) = state.withLock { [request] state in
            var request = request
            state.ordinal += 1
            if request.operation.isMutation { state.mutation += 1 }
            request.ordinal = state.ordinal
            request.mutation = state.mutation
            let hadCrashed = state.hasCrashed
            let fault = hadCrashed ? nil : Self.fault(for: request, &state)
            if case .crash = fault { state.hasCrashed = true }
            return (request, fault, hadCrashed, state.before, state.after)
        }
        request = numbered
        if hasCrashed { throw failure(.failed, request) }
        return (fault, before, after)
    }

    private static func fault(for request: StoreRequest, _ state: inout State) -> Fault? {
        for index in state.rules.indices where state.rules[index].times > 0 && state.rules[index].matches(request) {
            if state.rules[index].skip > 0 {
                state.rules[index].skip -= 1
                continue
            }
            state.rules[index].times -= 1
            return state.rules[index].fault
        }
        return nil
    }

    private func failure(
        _ code: ObjectStorageError.Code, _ request: StoreRequest, isAmbiguous: Bool = false
    ) -> ObjectStorageError {
        ObjectStorageError(code, "\(request): injected \(code)", isAmbiguous: isAmbiguous)
    }
}

extension ObjectBody {
    fileprivate var whole: Buffer {
        let whole = Buffer(capacity: count)
        for piece in pieces { whole.append(piece.bytes) }
        return whole
    }

    /// The body with one bit flipped in its middle.
    fileprivate var corrupted: ObjectBody {
        let whole = whole
        if whole.count > 0 { whole.storage[whole.count / 2] ^= 0x10 }
        return ObjectBody([whole])
    }

    /// The first half of the body.
    fileprivate var truncated: ObjectBody {
        let whole = whole
        whole.count /= 2
        return ObjectBody([whole])
    }
}
