package import Basics

/// Finds out what a store really does, by trying: some servers answer 200 to a condition that they ignore.
///
/// It puts a handful of small objects below `prefix` and removes them. What it cannot try without leaving something
/// behind, retention, it takes from the store's word.
package struct CapabilityProbe: Sendable {
    /// Where the probe's objects live.
    package static let prefix = "probe/"
    /// Clocks that differ by more than this are reported. Nothing relies on the caller's clock, but people read dates,
    /// and S3 refuses requests signed with a clock 15 minutes off.
    private static let toleratedSkewSeconds = 180.0
    /// Objects of a probe that was killed are removed by a later one.
    private static let abandonedSeconds = 86_400.0

    /// Something that a user should know about the store.
    package struct Finding: Hashable, Sendable, CustomStringConvertible {
        /// How bad it is.
        package enum Severity: String, Hashable, Sendable {
            /// Works, with less safety or more requests.
            case degraded
            /// No backup should rely on this store.
            case broken
        }

        package var severity: Severity
        /// One line: what the store lacks and what is lost by it.
        package var message: String

        package var description: String { message }

        static func degraded(_ message: String) -> Finding { Finding(severity: .degraded, message: message) }
        static func broken(_ message: String) -> Finding { Finding(severity: .broken, message: message) }
    }

    /// What the probe found.
    package struct Report: Sendable {
        /// What the store can be trusted with.
        package var capabilities: StoreCapabilities
        package var findings: [Finding]
        /// Seconds by which the store's clock is ahead of the caller's.
        package var clockSkewSeconds: Double

        /// Whether the store keeps the promises that nothing can do without.
        package var isUsable: Bool { !findings.contains { $0.severity == .broken } }
    }

    private let clock: any WallClock
    private let name: String

    /// A probe that measures the store's clock against `clock`. `name` keeps probes that run at once apart: a component
    /// of a key, new for each probe.
    package init(clock: any WallClock = SystemWallClock(), name: String = Self.randomName()) {
        self.clock = clock
        self.name = name
    }

    /// A name that no other probe has.
    package static func randomName() -> String { String(UInt64.random(in: .min ... .max), radix: 36) }

    /// Probes `store`. Throws what keeps the probe from finding anything out: credentials, network, no space.
    package func run(on store: any ObjectStore) async throws(ObjectStorageError) -> Report {
        let session = ProbeSession(store: store, prefix: Self.prefix + name + "/")
        let result: Result<Report, ObjectStorageError>
        do throws(ObjectStorageError) {
            result = .success(try await probe(session))
        } catch {
            result = .failure(error)
        }
        do throws(ObjectStorageError) {
            try await session.removeAll(alsoOlderThan: Self.abandonedSeconds, below: Self.prefix)
        } catch {
            // The first error tells more than the ones that follow from it.
            _ = try result.get()
            throw error
        }
        return try result.get()
    }

    private func probe(_ session: ProbeSession) async throws(ObjectStorageError) -> Report {
        var findings: [Finding] = []
        let claims = session.store.capabilities
        let skew = try await clockSkew(session, &findings)
        findings += try await session.readAfterWrite()
        findings += try await session.ranges()
        findings += try await session.tags()
        let creates = try await session.refusesToCreateTwice()
        if !creates {
            findings.append(
                .degraded(
                    "the store does not refuse to overwrite (If-None-Match): two backups that finish at the same moment could "
                        + "overwrite each other's objects; run one at a time"))
        }
        let replaces = try await session.refusesToReplaceOther()
        if !replaces {
            findings.append(
                .degraded(
                    "the store does not compare tags when it replaces (If-Match): two changes of keys at the same moment could "
                        + "undo each other; change them one at a time"))
        }
        // A store that compares by itself first, without the server's help, says so; the answers look the same.
        let deletes = try await session.refusesToDeleteOther() && claims.conditionalDelete
        if !deletes {
            findings.append(
                .degraded(
                    "the store does not compare tags when it deletes (If-Match): a prune looks before each deletion instead, "
                        + "and must not run while something else rewrites packs"))
        }
        let (isComplete, isOrdered) = try await session.listing()
        if !isComplete {
            findings.append(
                .broken("the store's listing lacks objects that were stored before it: backups could be lost"))
        }
        if isComplete && !isOrdered {
            findings.append(
                .degraded("the store lists in no order: listings are collected and sorted, which takes memory"))
        }
        let capabilities = StoreCapabilities(
            createIfAbsent: creates, replaceIfTag: replaces, conditionalDelete: deletes, listIsOrdered: isOrdered,
            retention: claims.retention)
        return Report(capabilities: capabilities, findings: findings, clockSkewSeconds: skew)
    }

    private func clockSkew(
        _ session: ProbeSession, _ findings: inout [Finding]
    ) async throws(ObjectStorageError) -> Double {
        let before = clock.now()
        let server = try await session.store.serverTime()
        let after = clock.now()
        // The answer was given between the two; HTTP dates are whole seconds, rounded down.
        let skew = server < before.advanced(bySeconds: -1) ? server - before : server > after ? server - after : 0
        if abs(skew) > Self.toleratedSkewSeconds {
            let direction = skew > 0 ? "ahead of" : "behind"
            findings.append(
                .degraded(
                    "the store's clock is \(Int(abs(skew))) s \(direction) this machine's: set this machine's clock, or dates in "
                        + "listings will look wrong and S3 may refuse requests"))
        }
        return skew
    }
}
