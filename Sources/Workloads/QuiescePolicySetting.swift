internal import Kubernetes

extension QuiescePolicy {
    /// What can be said in a policy, each as text: the value of an annotation, of a policy file's member, of an option.
    package enum Setting: String, Sendable, CaseIterable {
        case consistency, checkpointCommand, checkpointSignal, checkpointHTTP, checkpointFile, checkpointTimeout
        case checkpointRanks, checkpointContainer, drain, drainTimeout, override

        /// Its annotation on a workload.
        package var annotation: String {
            switch self {
            case .consistency: BecalmAnnotation.consistency
            case .checkpointCommand: BecalmAnnotation.checkpointCommand
            case .checkpointSignal: BecalmAnnotation.checkpointSignal
            case .checkpointHTTP: BecalmAnnotation.checkpointHTTP
            case .checkpointFile: BecalmAnnotation.checkpointFile
            case .checkpointTimeout: BecalmAnnotation.checkpointTimeout
            case .checkpointRanks: BecalmAnnotation.checkpointRanks
            case .checkpointContainer: BecalmAnnotation.checkpointContainer
            case .drain: BecalmAnnotation.drain
            case .drainTimeout: BecalmAnnotation.drainTimeout
            case .override: BecalmAnnotation.override
            }
        }

        /// Whether it says how a checkpoint is asked for: one of these is enough.
        package var isRequest: Bool {
            switch self {
            case .checkpointCommand, .checkpointSignal, .checkpointHTTP, .checkpointFile: true
            case .consistency, .checkpointTimeout, .checkpointRanks, .checkpointContainer, .drain, .drainTimeout,
                .override:
                false
            }
        }

        /// What its text is, after its name: "is all or first".
        package var form: String {
            switch self {
            case .consistency: "is checkpoint, pause or stop"
            case .checkpointCommand: #"is one word or a JSON list of words such as ["/save","--now"]"#
            case .checkpointSignal: "is one of \(QuiescePolicy.signals.sorted().joined(separator: ", "))"
            case .checkpointHTTP: "is a method, a port and a path such as `POST 8080/checkpoint`"
            case .checkpointFile: "is the absolute path of a file"
            case .checkpointTimeout: "is a time such as 90s or 10m, at most 24h"
            case .checkpointRanks: "is all or first"
            case .checkpointContainer: "is the name of a container"
            case .drain: "is auto, required or off"
            case .drainTimeout: "is a time such as 90s or 10m, at most 24h"
            case .override: "is a list of traps, as refusals name them, between commas"
            }
        }
    }

    /// Takes up what `text` says; false when it is not of the setting's form.
    package mutating func set(_ setting: Setting, _ text: String) -> Bool {
        switch setting {
        case .consistency: Self.assign(&consistency, Consistency(rawValue: text))
        case .checkpointCommand: Self.assign(&request, Self.command(text).map { .command($0) })
        case .checkpointSignal: Self.assign(&request, Self.signal(text))
        case .checkpointHTTP: Self.assign(&request, Self.http(text))
        case .checkpointFile: Self.assign(&request, Self.file(text))
        case .checkpointTimeout: Self.assign(&timeout, Self.time(text))
        case .checkpointRanks: Self.assign(&ranks, Ranks(rawValue: text))
        case .checkpointContainer: Self.assign(&container, text.isEmpty ? nil : text)
        case .drain: Self.assign(&drain, Drain(rawValue: text))
        case .drainTimeout: Self.assign(&drainTimeout, Self.time(text))
        case .override: Self.assign(&overrides, Self.traps(text))
        }
    }

    private static func assign<T>(_ place: inout T?, _ value: T?) -> Bool {
        guard let value else { return false }
        place = value
        return true
    }

    private static func assign(_ place: inout Set<String>, _ value: Set<String>?) -> Bool {
        guard let value else { return false }
        place = value
        return true
    }

    private static func traps(_ text: String) -> Set<String>? {
        let words = text.split(separator: ",", omittingEmptySubsequences: false).map { word in
            String(word.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
        let isWord = words.allSatisfy { word in
            !word.isEmpty
                && word.utf8.allSatisfy {
                    $0 == UInt8(ascii: "-") || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                }
        }
        return isWord ? Set(words) : nil
    }

    private static func assign(_ place: inout String, _ value: String?) -> Bool {
        guard let value else { return false }
        place = value
        return true
    }

    private static let signals: Set = ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "CONT", "WINCH"]
    private static let methods: Set = ["GET", "POST", "PUT"]

    private static func time(_ text: String) -> GoDuration? {
        GoDuration(text).flatMap { $0.nanoseconds > 0 && $0 <= longestTimeout ? $0 : nil }
    }

    private static func signal(_ text: String) -> Request? {
        let name = text.hasPrefix("SIG") ? String(text.dropFirst(3)) : text
        return signals.contains(name) ? .signal("SIG\(name)") : nil
    }

    private static func file(_ text: String) -> Request? {
        text.hasPrefix("/") && !text.hasSuffix("/") && text.utf8.count <= 4096 && !text.utf8.contains(0)
            ? .file(text) : nil
    }

    /// The words of a command, without a shell: one, or a JSON list.
    package static func command(_ text: String) -> [String]? {
        guard text.hasPrefix("[") else {
            return text.isEmpty || text.contains(where: \.isWhitespace) ? nil : [text]
        }
        guard let elements = try? JSONValue(parsing: text, limits: .init(maximumBytes: 64 << 10)).array else {
            return nil
        }
        return words(elements)
    }

    static func words(_ elements: [JSONValue]) -> [String]? {
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
