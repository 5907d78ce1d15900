package import ObjectStorage

/// Where a server listens: scheme, host, port and the path before the bucket.
package struct S3Endpoint: Hashable, Sendable, CustomStringConvertible {
    package let isSecure: Bool
    /// Lower case; an IPv6 address in brackets.
    package let host: String
    /// Nil for the scheme's own.
    package let port: Int?
    /// Begins with a slash and ends without one, or is empty.
    package let basePath: String

    init(isSecure: Bool, host: String, port: Int? = nil, basePath: String = "") {
        self.isSecure = isSecure
        self.host = host
        self.port = port
        self.basePath = basePath
    }

    /// The endpoint that an address names; without a scheme it is `https`. Throws `.invalidArgument`.
    package static func parse(_ text: String) throws(ObjectStorageError) -> S3Endpoint {
        let problem = ObjectStorageError(
            .invalidArgument,
            "\(String(reflecting: text)) is no endpoint; write https://HOST[:PORT] or http://HOST[:PORT]")
        var rest = text[...]
        var isSecure = true
        if let separator = rest.firstRange(of: "://") {
            switch rest[..<separator.lowerBound].lowercased() {
            case "https": isSecure = true
            case "http": isSecure = false
            default: throw problem
            }
            rest = rest[separator.upperBound...]
        }
        guard !rest.contains("?"), !rest.contains("#"), !rest.contains("@") else { throw problem }
        let authority = rest.prefix { $0 != "/" }
        let path = rest.dropFirst(authority.count).split(separator: "/").joined(separator: "/")
        var host = authority
        var port: Int?
        let hostEnd = authority.hasPrefix("[") ? authority.firstIndex(of: "]") : authority.startIndex
        guard let hostEnd else { throw problem }
        if let colon = authority[hostEnd...].firstIndex(of: ":") {
            guard let number = Int(authority[authority.index(after: colon)...]), (1...65_535).contains(number) else {
                throw problem
            }
            port = number == (isSecure ? 443 : 80) ? nil : number
            host = authority[..<colon]
        }
        let isHost =
            !host.isEmpty
            && host.utf8.allSatisfy { byte in
                byte > 0x20 && byte < 0x7f && !"\"%\\^`{}|<>".utf8.contains(byte)
            }
        guard isHost else { throw problem }
        return S3Endpoint(
            isSecure: isSecure, host: host.lowercased(), port: port, basePath: path.isEmpty ? "" : "/\(path)")
    }

    /// Amazon's endpoint for `service` in a region.
    static func amazon(_ service: String, region: String, usesFIPS: Bool = false, usesDualStack: Bool = false)
        -> S3Endpoint
    {
        let suffix = region.hasPrefix("cn-") ? "amazonaws.com.cn" : "amazonaws.com"
        let name = service + (usesFIPS ? "-fips" : "") + (usesDualStack ? ".dualstack" : "")
        return S3Endpoint(isSecure: true, host: "\(name).\(region).\(suffix)")
    }

    /// Whether the host is an address rather than a name.
    var isAddress: Bool {
        host.hasPrefix("[") || host.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || $0 == UInt8(ascii: ".") }
    }

    var scheme: String { isSecure ? "https" : "http" }

    /// Host and port as they stand in the `Host` header.
    var authority: String { port.map { "\(host):\($0)" } ?? host }

    /// `https://host:port/path`
    package var description: String { "\(scheme)://\(authority)\(basePath)" }
}
