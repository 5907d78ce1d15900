import Basics
import ObjectStorage
import ObjectStorageTesting
import Synchronization

/// A store at which something else happens once, in the middle of somebody's work.
final class Intruder: ForwardingObjectStore {
    /// When it happens.
    enum Moment: Sendable {
        /// Just before the store's k-th change.
        case beforeMutation(Int)
        /// Just before the store's k-th call of any kind.
        case beforeCall(Int)
        /// Just before an object with this prefix is stored.
        case beforePut(String)
        /// Just before the first object with one of these prefixes is removed; others wait for the intruder to end.
        case beforeDelete([String])
        /// Just after an object with this prefix was stored.
        case afterPut(String)
    }

    let base: any ObjectStore
    let hasRun = Mutex(false)
    /// What went wrong with the intruder, if anything.
    let failure = Mutex<String?>(nil)
    private let isOver = Gate()
    private let store: FaultyObjectStore
    private let moment: Moment
    private let body: @Sendable () async throws -> Void

    init(_ store: FaultyObjectStore, at moment: Moment, _ body: @escaping @Sendable () async throws -> Void) {
        base = store
        self.store = store
        self.moment = moment
        self.body = body
    }

    private func intrudeBefore(isMutation: Bool = false) async {
        switch moment {
        case .beforeMutation(let number): if isMutation, store.mutations + 1 >= number { await intrude() }
        case .beforeCall(let number): if store.operations + 1 >= number { await intrude() }
        case .beforePut, .beforeDelete, .afterPut: break
        }
    }

    private func intrude() async {
        let isFirst = hasRun.withLock { hasRun in
            defer { hasRun = true }
            return !hasRun
        }
        guard isFirst else { return }
        do { try await body() } catch { failure.withLock { $0 = "\(error)" } }
        isOver.open()
    }

    func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        await intrudeBefore(isMutation: true)
        if case .beforePut(let prefix) = moment, key.hasPrefix(prefix) { await intrude() }
        let receipt = try await base.put(key, body, options: options)
        if case .afterPut(let prefix) = moment, key.hasPrefix(prefix) { await intrude() }
        return receipt
    }

    func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError) {
        await intrudeBefore(isMutation: true)
        if case .beforeDelete(let prefixes) = moment, prefixes.contains(where: { key.hasPrefix($0) }) {
            await intrude()
            await isOver.pass()
        }
        try await base.delete(key, ifTag: ifTag)
    }

    func get(
        _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> ObjectAttributes {
        await intrudeBefore()
        return try await base.get(key, range: range, into: buffer, maximumBytes: maximumBytes)
    }

    func head(_ key: String) async throws(ObjectStorageError) -> ObjectAttributes {
        await intrudeBefore()
        return try await base.head(key)
    }

    func list(prefix: String, token: String?) async throws(ObjectStorageError) -> ObjectPage {
        await intrudeBefore()
        return try await base.list(prefix: prefix, token: token)
    }
}

/// A door that is shut until it is opened, once.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    /// Lets everybody pass, now and later.
    func open() {
        let waiting = state.withLock { state in
            defer { state.waiting = [] }
            state.isOpen = true
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Waits until the gate is open.
    func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }
}
