/// An `https` address under another name than the one to connect to: libcurl checks a certificate against the address's
/// host, so the address gets the name that is expected and libcurl is told where that is.
struct RenamedAddress {
    /// The address with the expected name in it.
    let url: String
    /// libcurl's `HOST:PORT:CONNECT-TO-HOST:CONNECT-TO-PORT`.
    let connectTo: String
    /// What the `Host` header is to say.
    let host: String

    /// Nil unless `url` is an `https` address.
    init?(_ url: String, as name: String) {
        let scheme = "https://"
        guard url.hasPrefix(scheme), !name.isEmpty else { return nil }
        let rest = url.dropFirst(scheme.count)
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let path = rest.dropFirst(authority.count)
        let afterBracket = authority.lastIndex(of: "]") ?? authority.startIndex
        let colon = authority[afterBracket...].lastIndex(of: ":")
        let realHost = colon.map { authority[..<$0] } ?? authority
        let port = colon.map { String(authority[authority.index(after: $0)...]) } ?? "443"
        let label = name.contains(":") && !name.hasPrefix("[") ? "[\(name)]" : name
        self.url = "\(scheme)\(label):\(port)\(path)"
        connectTo = "\(label):\(port):\(realHost):\(port)"
        host = String(authority)
    }
}
