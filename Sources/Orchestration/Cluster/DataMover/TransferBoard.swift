internal import Basics
internal import Kubernetes

/// Which transfers there are, which are being worked on, and which are next. Pure: it does nothing by itself.
///
/// At most `concurrency` transfers are under way; those that are New wait in the order in which they came. One whose end is
/// asked for, or that has ended and left something, waits for nobody.
struct TransferBoard: Sendable {
    /// Names a transfer within the namespace.
    struct Key: Hashable, Sendable {
        let kind: Transfer.Kind
        let name: String

        init(_ transfer: Transfer) { (kind, name) = (transfer.kind, transfer.object.name) }
    }

    private struct Entry: Sendable {
        var transfer: Transfer
        /// When it is to be looked at; nil when it changes.
        var due: ContinuousClock.Instant?
        var isBusy = false
        /// It has changed while it was worked on.
        var isStale = false
    }

    private let concurrency: Int
    private var entries: [Key: Entry] = [:]
    /// Those that were New and have been let in, until they have ended.
    private var admitted: Set<Key> = []

    /// Steps at once, whatever asks for them.
    private static let mostSteps = 32

    init(concurrency: Int) { self.concurrency = concurrency }

    /// Takes note of a transfer as it was seen at `now`.
    mutating func put(_ transfer: Transfer, at now: ContinuousClock.Instant) {
        let key = Key(transfer)
        guard transfer.isOurs else { return remove(key) }
        if var entry = entries[key] {
            guard entry.transfer != transfer else { return }
            // Another one of this name is another one.
            if entry.transfer.object.uid != transfer.object.uid { admitted.remove(key) }
            entry.transfer = transfer
            if entry.isBusy { entry.isStale = true } else { entry.due = now }
            entries[key] = entry
        } else {
            entries[key] = Entry(transfer: transfer, due: now)
        }
        settle(key)
    }

    /// Takes note that there is no such transfer any more.
    mutating func remove(_ key: Key) {
        admitted.remove(key)
        guard let entry = entries[key] else { return }
        // A step that is under way ends by itself and finds nothing.
        if entry.isBusy { entries[key]?.isStale = true } else { entries[key] = nil }
    }

    /// Takes note of all transfers of a kind.
    mutating func sync(_ kind: Transfer.Kind, _ transfers: [Transfer], at now: ContinuousClock.Instant) {
        let there = Set(transfers.map { Key($0) })
        for key in entries.keys where key.kind == kind && !there.contains(key) { remove(key) }
        for transfer in transfers { put(transfer, at: now) }
    }

    /// Takes note of what a step has come to.
    mutating func ended(_ key: Key, _ outcome: TransferWorker.Outcome, at now: ContinuousClock.Instant) {
        guard var entry = entries[key] else { return }
        entry.isBusy = false
        guard let transfer = outcome.transfer else {
            entries[key] = nil
            admitted.remove(key)
            return
        }
        // A watch may be behind what was just written, or before it: the next step reads it in any case.
        if !entry.isStale { entry.transfer = transfer }
        switch outcome.pace {
        case .after(let seconds): entry.due = now.advanced(by: .seconds(seconds))
        case .whenChanged: entry.due = entry.isStale ? now : nil
        }
        entry.isStale = false
        entries[key] = entry
        if transfer.phase == .new || transfer.phase?.isTerminal == true { admitted.remove(key) }
    }

    private mutating func settle(_ key: Key) {
        if entries[key]?.transfer.phase?.isTerminal == true { admitted.remove(key) }
    }

    /// What a transfer asks for.
    private enum Need { case nothing, slot, step }

    private static func need(_ transfer: Transfer) -> Need {
        guard let phase = transfer.phase else { return .step }
        if phase == .new {
            if transfer.object.isBeingDeleted { return .nothing }
            return transfer.isUnwanted ? .step : .slot
        }
        return phase.isTerminal && !transfer.hasFinalizer ? .nothing : .step
    }

    /// The steps to begin now; they count as begun.
    mutating func begin(at now: ContinuousClock.Instant) -> [Key] {
        var busy = entries.values.count { $0.isBusy }
        var begun: [Key] = []
        let due = entries.filter { !$0.value.isBusy && $0.value.due.map { $0 <= now } ?? false }
            .sorted { Self.isBefore($0.value.transfer, $1.value.transfer) }
        for (key, entry) in due where busy < Self.mostSteps {
            switch Self.need(entry.transfer) {
            case .nothing:
                entries[key]?.due = nil
                continue
            case .slot where !admitted.contains(key):
                guard underWay < concurrency else { continue }
                admitted.insert(key)
            case .slot, .step: break
            }
            entries[key]?.isBusy = true
            busy += 1
            begun.append(key)
        }
        return begun
    }

    /// Transfers that take a place.
    private var underWay: Int {
        let moving = entries.filter { _, entry in
            guard let phase = entry.transfer.phase else { return false }
            return phase != .new && !phase.isTerminal
        }
        return admitted.union(moving.keys).count
    }

    /// Who came first.
    private static func isBefore(_ left: Transfer, _ right: Transfer) -> Bool {
        let times = (left.object.creationTimestamp, right.object.creationTimestamp)
        if times.0 != times.1 { return (times.0?.nanoseconds ?? 0) < (times.1?.nanoseconds ?? 0) }
        return (left.object.name, left.kind.rawValue) < (right.object.name, right.kind.rawValue)
    }
}
