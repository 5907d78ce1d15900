package import Kubernetes

/// What a user's annotations ask of a backup for one workload, or for one pod.
package struct QuiescePolicy: Hashable, Sendable {
    /// How still the workload is while its volumes are taken.
    package enum Consistency: String, Sendable, CaseIterable {
        /// It writes a checkpoint and runs on: the last complete checkpoint is what is consistent.
        case checkpoint
        /// It is stopped until its volumes are taken, after a checkpoint if it can be asked for one.
        case pause
        /// It is stopped as with `pause`, and stays so until somebody resumes it.
        case stop
    }

    /// How it is asked for a checkpoint.
    package enum Request: Hashable, Sendable {
        /// A command in its container, without a shell around it.
        case command([String])
        /// A signal to process 1 of its container: `SIGUSR1`.
        case signal(String)
        /// An HTTP request to its pod, through the API server.
        case http(method: String, port: Int, path: String)
        /// A file that is made in its container, absolute: frameworks that look for one save when they see it.
        case file(String)
    }

    /// Which of its pods are asked.
    package enum Ranks: String, Sendable, CaseIterable {
        /// All at once: what saves on a signal mostly needs it in every process.
        case all
        /// The first one: it tells the others.
        case first
    }

    /// Nil when the annotations do not say.
    package var consistency: Consistency?
    /// Nil: it is not asked; stopping it is all there is.
    package var request: Request?
    /// How long the checkpoint may take; nil for the default.
    package var timeout: GoDuration?
    package var ranks: Ranks = .all
    /// Empty for the pod's default one, else its first.
    package var container = ""

    package init(consistency: Consistency? = nil, request: Request? = nil, timeout: GoDuration? = nil) {
        self.consistency = consistency
        self.request = request
        self.timeout = timeout
    }

    /// The longest time that may be asked for.
    package static let longestTimeout = GoDuration(seconds: 24 * 3600)

    /// A time as a policy has it.
    package static func timeout(seconds: Double) -> GoDuration { GoDuration(nanoseconds: Int64(seconds * 1e9)) }

    private static let signals: Set = ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "CONT", "WINCH"]
    private static let methods: Set = ["GET", "POST", "PUT"]

    /// What an object's annotations ask for; nil when they ask for nothing. Strict: what is misspelled is refused, for a
    /// backup that passes over it would be believed consistent.
    package init?(of object: KubernetesObject) throws(WorkloadError) {
        let annotations = object.annotations
        let known: Set = [
            BecalmAnnotation.checkpointCommand, BecalmAnnotation.checkpointSignal, BecalmAnnotation.checkpointHTTP,
            BecalmAnnotation.checkpointTimeout, BecalmAnnotation.checkpointFile, BecalmAnnotation.checkpointContainer,
            BecalmAnnotation.checkpointRanks,
        ]
        if let unknown = annotations.keys.filter({ $0.hasPrefix("becalm.io/checkpoint-") && !known.contains($0) }).min()
        {
            throw WorkloadError(
                "\(object.label): there is no annotation \(unknown); there are \(known.sorted().joined(separator: ", "))"
            )
        }
        guard annotations.keys.contains(where: { known.contains($0) || $0 == BecalmAnnotation.consistency }) else {
            return nil
        }
        func refused(_ key: String, _ what: String) -> WorkloadError {
            WorkloadError("\(object.label): the annotation \(key) \(what), not `\(annotations[key]?.prefix(80) ?? "")`")
        }
        if let text = annotations[BecalmAnnotation.consistency] {
            guard let value = Consistency(rawValue: text) else {
                throw refused(BecalmAnnotation.consistency, "is checkpoint, pause or stop")
            }
            consistency = value
        }
        if let text = annotations[BecalmAnnotation.checkpointTimeout] {
            guard let value = GoDuration(text), value.nanoseconds > 0, value <= Self.longestTimeout else {
                throw refused(BecalmAnnotation.checkpointTimeout, "is a time such as 90s or 10m, at most 24h")
            }
            timeout = value
        }
        if let text = annotations[BecalmAnnotation.checkpointRanks] {
            guard let value = Ranks(rawValue: text) else {
                throw refused(BecalmAnnotation.checkpointRanks, "is all or first")
            }
            ranks = value
        }
        container = annotations[BecalmAnnotation.checkpointContainer] ?? ""
        request = try Self.request(object, refused)
    }

    /// The one way in which annotations have it asked.
    private static func request(
        _ object: KubernetesObject, _ refused: (String, String) -> WorkloadError
    ) throws(WorkloadError) -> Request? {
        let annotations = object.annotations
        var requests: [Request] = []
        if let text = annotations[BecalmAnnotation.checkpointCommand] {
            guard let words = command(text) else {
                throw refused(
                    BecalmAnnotation.checkpointCommand,
                    #"is one word or a JSON list of words such as ["/save","--now"]"#)
            }
            requests.append(.command(words))
        }
        if let text = annotations[BecalmAnnotation.checkpointSignal] {
            let name = text.hasPrefix("SIG") ? String(text.dropFirst(3)) : text
            guard signals.contains(name) else {
                throw refused(
                    BecalmAnnotation.checkpointSignal, "is one of \(signals.sorted().joined(separator: ", "))")
            }
            requests.append(.signal("SIG\(name)"))
        }
        if let text = annotations[BecalmAnnotation.checkpointHTTP] {
            guard let value = http(text) else {
                throw refused(
                    BecalmAnnotation.checkpointHTTP, "is a method, a port and a path such as `POST 8080/checkpoint`")
            }
            requests.append(value)
        }
        if let text = annotations[BecalmAnnotation.checkpointFile] {
            guard text.hasPrefix("/"), !text.hasSuffix("/"), text.utf8.count <= 4096, !text.utf8.contains(0) else {
                throw refused(BecalmAnnotation.checkpointFile, "is the absolute path of a file")
            }
            requests.append(.file(text))
        }
        guard requests.count <= 1 else {
            throw WorkloadError(
                "\(object.label) is to be asked for a checkpoint in \(requests.count) ways; leave one of "
                    + "\(BecalmAnnotation.checkpointCommand), \(BecalmAnnotation.checkpointSignal), "
                    + "\(BecalmAnnotation.checkpointHTTP) and \(BecalmAnnotation.checkpointFile)")
        }
        return requests.first
    }

    private static func command(_ text: String) -> [String]? {
        guard text.hasPrefix("[") else {
            return text.isEmpty || text.contains(where: \.isWhitespace) ? nil : [text]
        }
        guard let elements = try? JSONValue(parsing: text, limits: .init(maximumBytes: 64 << 10)).array else {
            return nil
        }
        let words = elements.compactMap(\.string)
        guard words.count == elements.count, words.first?.isEmpty == false else { return nil }
        return words
    }

    private static func http(_ text: String) -> Request? {
        let words = text.split(separator: " ")
        guard words.count == 1 || words.count == 2, let target = words.last, let slash = target.firstIndex(of: "/")
        else {
            return nil
        }
        let method = words.count == 2 ? String(words[0]) : "POST"
        let path = String(target[slash...])
        guard methods.contains(method), let port = Int(target[..<slash]), (1...65535).contains(port),
            path.utf8.count <= 2048, path.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
        else { return nil }
        return .http(method: method, port: port, path: path)
    }
}
