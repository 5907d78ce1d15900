internal import HTTPTransport
internal import Logging

/// The objects of one kind as they change, for as long as it is read.
///
/// It begins with `.synced` (unless it goes on from a given resourceVersion), and goes on where it was when the server
/// ends the request, the connection breaks or the server is gone for as long as the client's patience; then it throws.
/// When the server has forgotten where it was (410), it lists anew and tells `.synced` again. Cancelling the reading task
/// ends it.
package struct ObjectWatch: AsyncSequence, Sendable {
    /// What happened.
    package typealias Element = WatchEvent
    /// Why it cannot go on.
    package typealias Failure = KubernetesError

    let client: KubernetesClient
    let resource: APIResource
    let namespace: String
    let options: ListOptions
    let start: String?

    /// Seconds after which the server is to end a request, so that connections do not grow old. A quiet watch says
    /// nothing for minutes, on servers without bookmarks nothing at all.
    static let requestSeconds = 300
    /// Seconds after which a request is given up that the server has not ended: the server is gone.
    static let totalSeconds = 330

    /// A watch of its own, from the beginning.
    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self) }

    /// Reads the events in order. One task at a time uses it.
    package struct AsyncIterator: AsyncIteratorProtocol {
        private enum State {
            case needsList
            /// From this resourceVersion on.
            case needsRequest(String)
            case reading(HTTPResponseStream, from: String)
            case ended
        }

        private let watch: ObjectWatch
        private var state: State
        private var decoder = WatchDecoder()
        /// Attempts in a row without a line.
        private var failures = 0

        init(_ watch: ObjectWatch) {
            self.watch = watch
            state = watch.start.map { .needsRequest($0) } ?? .needsList
        }

        package mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(KubernetesError) -> WatchEvent? { try await next() }

        package mutating func next() async throws(KubernetesError) -> WatchEvent? {
            while true {
                do throws(KubernetesError) {
                    if let event = try await step() { return event }
                    if case .ended = state { return nil }
                } catch {
                    try await recover(error)
                }
            }
        }

        private mutating func step() async throws(KubernetesError) -> WatchEvent? {
            switch state {
            case .ended: return nil
            case .needsList:
                let list = try await watch.client.list(watch.resource, namespace: watch.namespace, watch.options)
                state = .needsRequest(list.resourceVersion)
                return .synced(list.items)
            case .needsRequest(let version):
                decoder = WatchDecoder()
                state = .reading(
                    try await watch.client.open(
                        call(version), stallSeconds: 0, totalSeconds: ObjectWatch.totalSeconds), from: version)
                return nil
            case .reading(let stream, let version):
                if let (line, newer) = try nextLine() {
                    failures = 0
                    if !newer.isEmpty { state = .reading(stream, from: newer) }
                    switch line {
                    case .bookmark: return nil
                    case .event(let event): return event
                    case .error(let status):
                        throw StatusMapping.error(call(version), status: status, watch.client.configuration.source)
                    }
                }
                let bytes: [UInt8]?
                do throws(HTTPTransportError) {
                    bytes = try await stream.next()
                } catch {
                    throw StatusMapping.error(call(version), error, watch.client.configuration.source)
                }
                guard let bytes else {
                    // The server has ended the request, as it does every few minutes. One that ends each at once is asked
                    // with pauses.
                    state = .needsRequest(version)
                    failures += 1
                    if failures > 1 { try await pause() }
                    return nil
                }
                do throws(WatchDecoder.Malformed) {
                    try decoder.append(bytes)
                } catch {
                    throw malformed(error)
                }
                return nil
            }
        }

        private func malformed(_ error: WatchDecoder.Malformed) -> KubernetesError {
            KubernetesError(.malformed, "cannot \(call("").label): the server sends \(error)", cause: error)
        }

        private mutating func nextLine() throws(KubernetesError) -> (line: WatchLine, resourceVersion: String)? {
            do throws(WatchDecoder.Malformed) {
                return try decoder.next()
            } catch {
                throw malformed(error)
            }
        }

        private func call(_ version: String) -> APICall {
            var call = APICall("watch", .get, watch.resource, namespace: watch.namespace)
            call.add("watch", "true")
            call.add("allowWatchBookmarks", "true")
            call.add("labelSelector", watch.options.labels.description)
            call.add("fieldSelector", watch.options.fields)
            call.add("resourceVersion", version)
            call.add("timeoutSeconds", "\(ObjectWatch.requestSeconds)")
            return call
        }

        /// Readies another attempt after a failure that passes; throws the others, and those that last.
        private mutating func recover(_ error: KubernetesError) async throws(KubernetesError) {
            switch error.code {
            case .expired:
                // Listing has its own patience, so this cannot go round for ever without an event.
                state = .needsList
                failures += 1
                if failures > 1 { try await pause() }
            case .unreachable, .timedOut, .unavailable, .tooManyRequests:
                // Calls have waited for the server already, as long as patience says. A stream that breaks off had been
                // answered: the server is there, or the next call waits for it.
                guard case .reading(_, let version) = state else { throw end(error) }
                watch.client.logger.debug("a watch goes on", metadata: ["error": "\(error)"])
                state = .needsRequest(version)
                failures += 1
                try await pause(error.retryAfterSeconds)
            default: throw end(error)
            }
        }

        private mutating func end(_ error: KubernetesError) -> KubernetesError {
            state = .ended
            return error
        }

        private mutating func pause(_ retryAfter: Double? = nil) async throws(KubernetesError) {
            let delay = watch.client.patience.delay(
                afterAttempt: failures, chance: .random(in: 0.1...1), retryAfter: retryAfter)
            do {
                try await Task.sleep(for: .seconds(delay))
            } catch {
                throw end(KubernetesError(.cancelled, "cannot \(call("").label): it was cancelled"))
            }
        }
    }
}

extension KubernetesClient {
    /// The objects that are meant, of a namespace or (without one) of all, as they change; from `resourceVersion` on, or
    /// with all that there are at the beginning.
    package func watch(
        _ resource: APIResource, namespace: String = "", _ options: ListOptions = ListOptions(),
        from resourceVersion: String? = nil
    ) -> ObjectWatch {
        ObjectWatch(
            client: self, resource: resource, namespace: namespace, options: options, start: resourceVersion)
    }

    /// Waits until `body` answers something to the state of one object, nil when there is no such object; it is asked at
    /// the beginning and after each change. Throws `.timedOut` with the last state's label after `seconds`.
    package func wait<R: Sendable>(
        for resource: APIResource, namespace: String = "", name: String, seconds: Double, what: String,
        until body: @escaping @Sendable (KubernetesObject?) throws -> R?
    ) async throws -> R {
        let options = ListOptions(fields: "metadata.name=\(name)")
        let watch = watch(resource, namespace: namespace, options)
        return try await Deadline.run(
            seconds: seconds,
            or: KubernetesError(
                .timedOut,
                "\(resource.kind) \(namespace.isEmpty ? name : "\(namespace)/\(name)"): not \(what) within \(seconds) s"
            )
        ) {
            for try await event in watch {
                let state: KubernetesObject? =
                    switch event {
                    case .synced(let objects): objects.first
                    case .added(let object), .modified(let object): object
                    case .deleted: nil
                    }
                if let result = try body(state) { return result }
            }
            throw KubernetesError(.cancelled, "waiting for \(resource.kind) \(name) was cancelled")
        }
    }
}
