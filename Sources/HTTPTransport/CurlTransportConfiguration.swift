/// How a `CurlTransport` connects.
package struct CurlTransportConfiguration: Sendable {
    /// Whom to believe in TLS. Certificates and names are verified with all but `anyone`; a file or text of certificates
    /// takes the place of the system's, it does not add to them.
    package enum Authorities: Sendable, Hashable {
        /// Those of the system: libcurl's own default if it is there, else the usual places of the distributions.
        case system
        /// A PEM file of certificates.
        case file(String)
        /// Certificates as PEM text: also where the machine has no files of certificates.
        case pem([UInt8])
        /// Whoever answers, without a look at certificate and name: only where a user's configuration demands it.
        case anyone
    }

    /// A client's certificate and key, as PEM text.
    package struct Identity: Sendable, CustomStringConvertible, CustomReflectable {
        package var certificate: [UInt8]
        package var key: [UInt8]

        package init(certificate: [UInt8], key: [UInt8]) {
            self.certificate = certificate
            self.key = key
        }

        /// Says nothing of the key.
        package var description: String { "client certificate" }
        /// Says nothing of the key.
        package var customMirror: Mirror { Mirror(self, children: []) }
    }

    package var authorities: Authorities
    /// Shown to servers that ask for it.
    package var identity: Identity?
    /// The name that the server's certificate must have, and that the server is asked for, when it is not the one in
    /// the address. `Host` stays what the address says.
    package var serverName: String?
    /// `http://…`, `https://…`, `socks5://…`: the proxy for every request, whatever the environment says; nil leaves it
    /// to the environment.
    package var proxy: String?
    /// Connections, and requests under way, at once; more requests wait their turn. 32 × (512 KiB + 2 MiB) of curl's
    /// own buffers is 80 MiB at the very most; uploads of less than 1 MiB use 64 KiB instead of the 2 MiB.
    package var maximumConnections: Int
    /// Milliseconds for name, TCP and TLS.
    package var connectMilliseconds: Int
    /// Seconds without a byte after which a request fails.
    package var stallSeconds: Int
    /// The `User-Agent` header.
    package var userAgent: String

    /// The defaults suit object storage over any line.
    package init(
        authorities: Authorities = .system, identity: Identity? = nil, serverName: String? = nil,
        proxy: String? = nil, maximumConnections: Int = 32, connectMilliseconds: Int = 10_000, stallSeconds: Int = 30,
        userAgent: String = "becalm"
    ) {
        precondition(maximumConnections > 0)
        self.authorities = authorities
        self.identity = identity
        self.serverName = serverName
        self.proxy = proxy
        self.maximumConnections = maximumConnections
        self.connectMilliseconds = connectMilliseconds
        self.stallSeconds = stallSeconds
        self.userAgent = userAgent
    }
}
