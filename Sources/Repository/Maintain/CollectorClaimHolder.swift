internal import Basics
internal import Logging
internal import ObjectStorage
internal import RepositoryFormat
internal import Synchronization
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Holds `claims/collector` while a collection runs, so that a second one does not do the same work.
///
/// Only for economy: two collectors side by side are safe. A claim that nobody has touched for a minute, by the store's
/// clock, is taken over; at once when its process was of this machine and is gone.
final class CollectorClaimHolder: Sendable {
    /// Seconds after which a claim that was not touched counts as given up.
    private static let expirySeconds = 60.0
    private static let touchSeconds = 15.0

    private let repository: Repository
    private let claim: CollectorClaim
    private let tag = Mutex("")
    private let isLost = Atomic<Bool>(false)

    private init(_ repository: Repository, _ claim: CollectorClaim) {
        self.repository = repository
        self.claim = claim
    }

    /// Takes the claim. Throws `.busy` with the holder's name when another collection is under way.
    static func take(_ repository: Repository) async throws(RepositoryError) -> CollectorClaimHolder {
        do {
            let claim = CollectorClaim(
                id: try Identifier.random(), host: Machine.hostName, machine: Machine.identity,
                processID: UInt32(getpid()))
            let holder = CollectorClaimHolder(repository, claim)
            // Each round either succeeds, finds a living holder, or finds that the claim changed hands.
            for _ in 0..<8 {
                if try await holder.tryOnce() { return holder }
            }
            throw RepositoryError(.busy, "several collections are starting at once: try again")
        } catch {
            throw RepositoryError(error, doing: "cannot begin to collect")
        }
    }

    private func tryOnce() async throws -> Bool {
        let store = repository.store
        let name = ObjectNames.collectorClaim
        let bytes = try claim.encoded(keyring: repository.keyring)
        let present: ObjectAttributes
        do {
            present = try await store.head(name)
        } catch {
            guard error.code == .notFound else { throw error }
            return try await put(bytes, store.capabilities.createIfAbsent ? .ifAbsent : .none)
        }
        let (isDead, who) = try await isGivenUp(present)
        guard isDead else {
            throw RepositoryError(
                .busy, "\(who) is collecting in \(store.location): wait for it to end, or try again in a minute")
        }
        repository.options.logger.info("taking over the collection of \(who)")
        return try await put(bytes, store.capabilities.replaceIfTag ? .ifTag(present.tag) : .none)
    }

    /// False when somebody else was faster.
    private func put(_ bytes: [UInt8], _ condition: PutCondition) async throws -> Bool {
        do {
            let receipt = try await repository.store.put(
                ObjectNames.collectorClaim, bytes: bytes, options: PutOptions(condition: condition))
            tag.withLock { $0 = receipt.tag }
            return true
        } catch {
            guard error.code == .preconditionFailed || error.code == .conflict else { throw error }
            return false
        }
    }

    /// Whether the claim's holder is dead or gone, and who it is.
    private func isGivenUp(_ present: ObjectAttributes) async throws -> (Bool, String) {
        let store = repository.store
        let now: Timestamp
        if let date = present.date { now = date } else { now = try await store.serverTime() }
        let isOld = now - present.modified > Self.expirySeconds
        do {
            let bytes = try await store.get(ObjectNames.collectorClaim, maximumBytes: 64 << 10)
            let other = try CollectorClaim(decoding: bytes, keyring: repository.keyring)
            let who = "process \(other.processID) on \(other.host)"
            // Our own number means an earlier process of a container that starts anew, or a second claim of ours.
            let isHere = !claim.machine.isEmpty && other.machine == claim.machine
            let isGone = isHere && other.processID != claim.processID && !Machine.isAlive(other.processID)
            return (isOld || isGone, who)
        } catch let error as ObjectStorageError {
            guard error.code == .notFound || error.code == .tooLarge else { throw error }
            return (isOld || error.code == .notFound, "somebody")
        } catch is FormatError {
            return (isOld, "somebody whose claim cannot be read")
        }
    }

    /// Throws `.busy` when the claim was taken over, because this process was stopped for longer than a minute.
    func check() throws(RepositoryError) {
        guard isLost.load(ordering: .relaxed) else { return }
        throw RepositoryError(
            .busy, "another collection took over in \(repository.store.location) while this one was stopped")
    }

    /// Touches the claim. A store that fails leaves it untouched; the next touch comes soon.
    func touch() async {
        let store = repository.store
        do {
            let bytes = try claim.encoded(keyring: repository.keyring)
            let condition: PutCondition =
                store.capabilities.replaceIfTag ? .ifTag(tag.withLock { $0 }) : .none
            guard try await put(bytes, condition) else {
                isLost.store(true, ordering: .relaxed)
                return
            }
        } catch {
            repository.options.logger.warning("the collector's claim was not renewed: \(error)")
        }
    }

    /// Runs `body` and touches the claim every quarter of a minute meanwhile.
    func whileTouching<R: Sendable>(
        _ body: @escaping @Sendable () async throws -> R
    ) async throws -> R {
        try await withThrowingTaskGroup(of: R?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                while true {
                    do { try await Task.sleep(for: .seconds(Self.touchSeconds)) } catch { return nil }
                    await self.touch()
                }
            }
            while let result = try await group.next() {
                guard let result else { continue }
                group.cancelAll()
                return result
            }
            throw CancellationError()
        }
    }

    /// Gives the claim back; a failure leaves it to expire.
    func release() async {
        let tag = tag.withLock { $0 }
        do {
            try await repository.store.delete(ObjectNames.collectorClaim, ifTag: tag)
        } catch {
            repository.options.logger.debug("the collector's claim stays until it expires: \(error)")
        }
    }
}

/// What names this machine and its processes.
private enum Machine {
    /// The host's name, as other people know the machine.
    static var hostName: String {
        var bytes = [CChar](repeating: 0, count: 256)
        guard gethostname(&bytes, bytes.count - 1) == 0 else { return "unknown" }
        return String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The kernel's run (proc(5), random/boot_id) and the process-id namespace; empty where they cannot be known.
    static var identity: String {
        guard let file = try? FileDescriptor.open("/proc/sys/kernel/random/boot_id", .readOnly) else { return "" }
        defer { try? file.close() }
        var bytes = [UInt8](repeating: 0, count: 64)
        guard let count = try? bytes.withUnsafeMutableBytes({ try file.read(into: $0) }), count > 0 else { return "" }
        let boot = String(decoding: bytes.prefix(count).prefix { $0 != 0x0a }, as: UTF8.self)
        var target = [CChar](repeating: 0, count: 128)
        let length = readlink("/proc/self/ns/pid", &target, target.count - 1)
        guard length > 0 else { return "" }
        return boot + " " + String(decoding: target.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Whether there is such a process; another user's counts.
    static func isAlive(_ processID: UInt32) -> Bool {
        guard let id = pid_t(exactly: processID), id > 0 else { return false }
        return kill(id, 0) == 0 || errno != ESRCH
    }
}
