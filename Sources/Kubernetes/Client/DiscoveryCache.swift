internal import Synchronization

/// What a client has learnt of what its server serves.
final class DiscoveryCache: Sendable {
    /// An answer, with when it came.
    struct Entry<Value: Sendable>: Sendable {
        let value: Value
        let time: ContinuousClock.Instant
    }

    private struct State {
        var groups: Entry<[APIGroup]>?
        var resources: [String: Entry<[APIResource]>] = [:]
    }

    private let state = Mutex(State())

    /// Seconds for which an answer is good: kinds come and go with operators, seldom.
    static let lifeSeconds = 600.0
    /// Seconds after which a kind that was not there is looked for again.
    static let missSeconds = 5.0

    func groups(youngerThan seconds: Double) -> [APIGroup]? {
        let entry = state.withLock { $0.groups }
        return entry.flatMap { $0.time.duration(to: .now) < .seconds(seconds) ? $0.value : nil }
    }

    func put(_ groups: [APIGroup]) { state.withLock { $0.groups = Entry(value: groups, time: .now) } }

    func resources(_ apiVersion: String, youngerThan seconds: Double) -> [APIResource]? {
        let entry = state.withLock { $0.resources[apiVersion] }
        return entry.flatMap { $0.time.duration(to: .now) < .seconds(seconds) ? $0.value : nil }
    }

    func put(_ resources: [APIResource], _ apiVersion: String) {
        state.withLock { $0.resources[apiVersion] = Entry(value: resources, time: .now) }
    }
}

/// A group of the API with its versions.
package struct APIGroup: Hashable, Sendable {
    /// Empty for the core group.
    package var name: String
    /// The server's order, the preferred one first.
    package var versions: [String]
}
