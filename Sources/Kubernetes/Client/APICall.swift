internal import HTTPTransport

/// One request to the API, before it has an address and credentials.
struct APICall: Sendable {
    /// The API's verb, as access rules name it: `get`, `list`, `patch`, …
    var verb: String
    var method: HTTPMethod
    /// Nil for what is no resource, as discovery.
    var resource: APIResource?
    /// Empty for none.
    var subresource = ""
    /// Empty for objects outside namespaces and for all namespaces.
    var namespace = ""
    /// Empty for collections.
    var name = ""
    /// What follows the subresource, or the whole path where there is no resource; encoded.
    var path = ""
    var query: [(name: String, value: String)] = []
    var body: [UInt8]?
    var contentType = "application/json"
    /// What answers are taken. Only objects come in JSON: an upgrade that asks for JSON is refused (406).
    var accept = "application/json"
    /// Whether doing it twice comes to the same.
    var isIdempotent = true
    /// Whether a 429 is waited out here rather than told to the caller.
    var waitsWhenThrottled = true
    /// Seconds that one attempt may take, silent or not, where the caller waits no longer; nil for what patience says.
    var seconds: Double?
    /// Instead of the client's.
    var patience: KubernetesClient.Patience?
    /// Bytes of the answer.
    var maximumBytes = 64 << 20

    init(_ verb: String, _ method: HTTPMethod, _ resource: APIResource, namespace: String = "", name: String = "") {
        self.verb = verb
        self.method = method
        self.resource = resource
        self.namespace = resource.isNamespaced ? namespace : ""
        self.name = name
    }

    /// A `get` of a path that is no resource.
    init(path: String) {
        verb = "get"
        method = .get
        self.path = path
    }

    /// Adds a parameter unless its value is empty.
    mutating func add(_ name: String, _ value: String) {
        if !value.isEmpty { query.append((name, value)) }
    }

    /// Path and query.
    var target: String {
        var target = ""
        if let resource {
            target = resource.group.isEmpty ? "/api/\(resource.version)" : "/apis/\(resource.group)/\(resource.version)"
            if !namespace.isEmpty { target += "/namespaces/\(URLEncoding.encode(namespace))" }
            target += "/\(resource.plural)"
            if !name.isEmpty { target += "/\(URLEncoding.encode(name))" }
            if !subresource.isEmpty { target += "/\(subresource)" }
        }
        target += path
        if !query.isEmpty {
            let pairs = query.map { "\(URLEncoding.encode($0.name))=\(URLEncoding.encode($0.value))" }
            target += "?\(pairs.joined(separator: "&"))"
        }
        return target
    }

    /// `get Pod train/run42`, `list pods in train`: for messages.
    var label: String {
        guard let resource else { return "\(verb) \(path)" }
        let what = subresource.isEmpty ? resource.kind : "\(resource.kind) \(subresource)"
        if !name.isEmpty { return "\(verb) \(what) \(namespace.isEmpty ? name : "\(namespace)/\(name)")" }
        if method == .post { return "\(verb) \(what)\(namespace.isEmpty ? "" : " in \(namespace)")" }
        let place = namespace.isEmpty ? (resource.isNamespaced ? " in all namespaces" : "") : " in \(namespace)"
        return "\(verb) \(resource)\(place)"
    }

    /// What of the call makes no sense; nil when all is well. Names with a slash, or without anything, would lead
    /// elsewhere.
    var fault: String? {
        guard let resource else { return nil }
        for part in [namespace, name] where part == "." || part == ".." || part.utf8.contains(UInt8(ascii: "/")) {
            return "`\(part)` is no name of an object"
        }
        let isCollection = ["list", "watch", "create", "deletecollection"].contains(verb) && subresource.isEmpty
        if name.isEmpty, !isCollection { return "the name of the \(resource.kind) is missing" }
        if namespace.isEmpty, resource.isNamespaced, !["list", "watch"].contains(verb) {
            return "the namespace of the \(resource.kind) is missing"
        }
        return nil
    }
}

/// Percent-encoding of parts of paths and queries: everything but the unreserved characters of RFC 3986, section 2.3.
enum URLEncoding {
    private static let digits = Array("0123456789ABCDEF".utf8)

    private static let unreserved = Array("-._~".utf8)
    /// What else a header's name may have (RFC 9110, section 5.6.2), but for the percent sign.
    private static let headerMarks = Array("!#$&'*+-.^_`|~".utf8)

    /// `text` as a part of a path, or a name or value of a query.
    static func encode(_ text: String) -> String { encode(text, keeping: unreserved) }

    /// `text` as a part of a header's name, as client-go spells keys of `Impersonate-Extra-`.
    static func encodeHeaderName(_ text: String) -> String { encode(text, keeping: headerMarks) }

    private static func encode(_ text: String, keeping marks: [UInt8]) -> String {
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: bytes.append(byte)
            case _ where marks.contains(byte): bytes.append(byte)
            default: bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
