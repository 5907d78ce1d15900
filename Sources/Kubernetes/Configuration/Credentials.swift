internal import Basics
internal import FoundationEssentials
internal import HTTPTransport
internal import Logging
internal import Synchronization

/// What a configuration comes to at this moment: certificates, key, and the header that says who asks.
///
/// Files are read again after a minute, and whatever the server refuses is fetched anew. What cannot be fetched anew stays
/// in use until its end, or until the server refuses it, as in client-go: a plugin that has a hiccup does not stop what is
/// under way. Any number of tasks may ask at once; one of them fetches and the others wait for it.
final class Credentials: Sendable {
    /// What connects and authenticates.
    struct Material: Sendable {
        var transport: CurlTransportConfiguration
        /// The `Authorization` header, if there is one.
        var authorization: String?
        /// Counts fetches.
        var generation: Int
    }

    private struct State {
        var current: Material?
        var renewAt = Timestamp(nanoseconds: .min)
        /// When the current one ends for certain.
        var end = Timestamp(nanoseconds: .max)
        /// Whether the server has refused the current one.
        var isRefused = false
        var isFetching = false
        var waiters: [CheckedContinuation<Void, Never>] = []
        var generation = 0
        /// The failure of the last fetch, with the number of that fetch.
        var lastFailure: (KubernetesError, generation: Int)?
    }

    private enum Decision {
        case use(Material)
        case fail(KubernetesError)
        case fetch
        case wait
    }

    /// Seconds after which files are read again: mounted tokens are renewed at four fifths of their life, which is ten
    /// minutes at least, and kubelet writes them within a minute.
    private static let fileSeconds = 60.0
    /// Seconds before its end from which a plugin's credential is renewed, at most a tenth of its life.
    private static let margin = 60.0
    /// Seconds after which a renewal that failed is tried again, while what there is is good.
    private static let retrySeconds = 10.0

    let configuration: KubernetesConfiguration
    private let clock: any WallClock
    private let logger: Logger
    private let state = Mutex(State())

    init(_ configuration: KubernetesConfiguration, clock: any WallClock, logger: Logger) {
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
    }

    /// What is good now. Throws `.configuration` or `.unauthorized` when there is nothing to be had.
    func material() async throws(KubernetesError) -> Material {
        var waitedFor: Int?
        while true {
            if Task.isCancelled { throw KubernetesError(.cancelled, "fetching credentials was cancelled") }
            switch decide(waitedFor) {
            case .use(let material): return material
            case .fail(let error): throw error
            case .fetch: return try await fetchNow()
            case .wait:
                waitedFor = state.withLock { $0.generation }
                await waitForFetch()
            }
        }
    }

    /// Says that the server, or the look at its certificate, refused what `material` gave: the next call fetches anew.
    /// Whether that can help: not where nothing can change.
    func invalidate(_ material: Material) -> Bool {
        state.withLock { state in
            if state.current?.generation == material.generation {
                state.renewAt = Timestamp(nanoseconds: .min)
                state.isRefused = true
            }
        }
        switch configuration.authentication {
        case .exec, .tokenFile: return true
        case .none, .token, .basic: break
        }
        return [configuration.authority, configuration.clientCertificate].contains { material in
            if case .file = material { true } else { false }
        }
    }

    private func decide(_ waitedFor: Int?) -> Decision {
        let now = clock.now()
        return state.withLock { state in
            if let current = state.current, now < state.renewAt { return .use(current) }
            if state.isFetching { return .wait }
            if let waitedFor, let (error, generation) = state.lastFailure, generation > waitedFor {
                return .fail(error)
            }
            state.isFetching = true
            return .fetch
        }
    }

    private func waitForFetch() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                if state.isFetching { state.waiters.append(continuation) }
                return !state.isFetching
            }
            if isOver { continuation.resume() }
        }
    }

    private func fetchNow() async throws(KubernetesError) -> Material {
        let result: Result<Fetched, KubernetesError>
        do throws(KubernetesError) {
            result = .success(try await fetch())
        } catch {
            result = .failure(error)
        }
        let now = clock.now()
        let (answer, waiters) = state.withLock { state in
            state.generation += 1
            let answer: Result<Material, KubernetesError>
            switch result {
            case .success(let fetched):
                var material = fetched.material
                material.generation = state.generation
                (state.current, state.renewAt, state.end) = (material, fetched.renewAt, fetched.end)
                (state.isRefused, state.lastFailure) = (false, nil)
                answer = .success(material)
            case .failure(let error):
                if error.code != .cancelled, let current = state.current, !state.isRefused, now < state.end {
                    state.renewAt = min(now.advanced(bySeconds: Self.retrySeconds), state.end)
                    answer = .success(current)
                } else {
                    // A fetch that was cancelled says nothing to the others: one of them fetches next.
                    if error.code != .cancelled { state.lastFailure = (error, state.generation) }
                    answer = .failure(error)
                }
            }
            let waiters = state.waiters
            state.waiters = []
            state.isFetching = false
            return (answer, waiters)
        }
        for waiter in waiters { waiter.resume() }
        if case .failure(let error) = result, case .success = answer {
            logger.warning(
                "credentials cannot be renewed, and those at hand are used on", metadata: ["error": "\(error)"])
        }
        return try answer.get()
    }

    /// What a fetch gives.
    private struct Fetched {
        var material: Material
        var renewAt: Timestamp
        var end: Timestamp
    }

    private func fetch() async throws(KubernetesError) -> Fetched {
        let source = configuration.source
        let now = clock.now()
        var renewAt = now.advanced(bySeconds: Self.fileSeconds)
        var end = Timestamp(nanoseconds: .max)
        var transport = CurlTransportConfiguration(maximumConnections: 64, userAgent: "becalm")
        transport.serverName = configuration.serverName
        transport.proxy = configuration.proxy
        if configuration.skipsVerification {
            transport.authorities = .anyone
        } else if let authority = configuration.authority {
            transport.authorities = .pem(try await bytes(authority, "the certificate authority of \(source)"))
        }
        if let certificate = configuration.clientCertificate, let key = configuration.clientKey {
            transport.identity = CurlTransportConfiguration.Identity(
                certificate: try await bytes(certificate, "the client certificate of \(source)"),
                key: try await bytes(key, "the client key of \(source)"))
        }
        var authorization: String?
        switch configuration.authentication {
        case .none: break
        case .token(let token): authorization = "Bearer \(try Self.checked(token, "the token of \(source)"))"
        case .tokenFile(let path):
            let text = String(decoding: try await SmallFile.read(path, "the token of \(source)"), as: UTF8.self)
            authorization = "Bearer \(try Self.checked(text, "the token file \(path)"))"
        case .basic(let user, let password):
            authorization = "Basic \(Data("\(user):\(password)".utf8).base64EncodedString())"
        case .exec(let plugin):
            let status = try await ExecCredential.ask(plugin, configuration)
            if let token = status.token {
                authorization = "Bearer \(try Self.checked(token, "the token of the plugin \(plugin.command)"))"
            }
            if let (certificate, key) = status.identity {
                transport.identity = CurlTransportConfiguration.Identity(certificate: certificate, key: key)
            }
            // Without a time of expiry it is good until the server refuses it.
            renewAt = Timestamp(nanoseconds: .max)
            if let expiration = status.expiration {
                end = expiration
                renewAt = end.advanced(bySeconds: -min(Self.margin, max(0, end - now) / 10))
            }
        }
        let material = Material(transport: transport, authorization: authorization, generation: 0)
        return Fetched(material: material, renewAt: renewAt, end: end)
    }

    private func bytes(
        _ material: KubernetesConfiguration.Material, _ what: String
    ) async throws(KubernetesError) -> [UInt8] {
        switch material {
        case .bytes(let bytes): bytes
        case .file(let path): try await SmallFile.read(path, what)
        }
    }

    /// A token without the white space around it. Throws unless it is one word.
    private static func checked(_ text: String, _ what: String) throws(KubernetesError) -> String {
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 1 else {
            throw KubernetesError(.configuration, "\(what) is no single word; write it anew")
        }
        return String(words[0])
    }
}
