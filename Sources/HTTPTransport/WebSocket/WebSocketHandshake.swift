/// The upgrade from HTTP (RFC 6455, section 4): what is sent, and whether the answer is the right one.
struct WebSocketHandshake {
    /// What the answer must prove to have read.
    let key: String
    /// The request's head.
    let text: [UInt8]

    /// Bytes of an answer's head that are taken.
    static let maximumHeadBytes = 64 << 10

    /// An upgrade of `request` that offers `protocols` in order of preference. Nil when the address is none.
    init?(_ request: HTTPRequest, protocols: [String], nonce: [UInt8]) {
        self.init(request, protocols: protocols, key: Self.base64(nonce))
    }

    /// As above, with the key as it is sent.
    init?(_ request: HTTPRequest, protocols: [String], key: String) {
        guard let start = request.url.firstRange(of: "://")?.upperBound else { return nil }
        let authority = request.url[start...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let target = request.url[authority.endIndex...].prefix { $0 != "#" }
        self.key = key
        var head = "GET \(target.hasPrefix("/") ? "" : "/")\(target) HTTP/1.1\r\nHost: \(authority)\r\n"
        head +=
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \(key)\r\n"
        if !protocols.isEmpty { head += "Sec-WebSocket-Protocol: \(protocols.joined(separator: ", "))\r\n" }
        for field in request.headers.fields { head += "\(field.name): \(field.value)\r\n" }
        text = Array("\(head)\r\n".utf8)
    }

    /// What `Sec-WebSocket-Accept` has to say.
    var expectedProof: String {
        Self.base64(SHA1.digest(Array("\(key)258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)))
    }

    /// Nil when the answer upgrades the connection to one of `protocols`, else what is wrong with it.
    func fault(_ response: HTTPResponse, protocols: [String]) -> String? {
        guard response.headers["Upgrade"]?.lowercased() == "websocket",
            (response.headers["Connection"] ?? "").lowercased().split(separator: ",")
                .contains(where: { $0.split(separator: " ").joined() == "upgrade" })
        else { return "the server does not upgrade to WebSocket" }
        guard response.headers["Sec-WebSocket-Accept"] == expectedProof else {
            return "the server's answer belongs to another handshake"
        }
        guard response.headers["Sec-WebSocket-Extensions"] == nil else {
            return "the server uses an extension that was not offered"
        }
        guard protocols.isEmpty || protocols.contains(response.headers["Sec-WebSocket-Protocol"] ?? "") else {
            return "the server speaks none of the protocols \(protocols.joined(separator: ", "))"
        }
        return nil
    }

    /// The head of an answer, and where it ends; nil while it is not complete.
    static func parse(_ bytes: [UInt8]) -> (response: HTTPResponse, end: Int)? {
        var end = 0
        var lines: [String] = []
        while let newline = bytes[end...].firstIndex(of: 0x0a) {
            let line = bytes[end..<newline]
            let text = line.last == 0x0d ? line.dropLast() : line
            end = newline + 1
            if text.isEmpty {
                let words = (lines.first ?? "").split(separator: " ", maxSplits: 2)
                let status = words.count >= 2 && words[0].hasPrefix("HTTP/1.") ? Int(words[1]) ?? 0 : 0
                var headers = HTTPHeaders()
                for line in lines.dropFirst() {
                    guard let colon = line.firstIndex(of: ":") else { continue }
                    let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
                    let last = value.lastIndex { $0 != " " && $0 != "\t" }
                    headers.add(String(line[..<colon]), last.map { String(value[...$0]) } ?? "")
                }
                return (HTTPResponse(status: status, headers: headers), end)
            }
            lines.append(String(decoding: text, as: UTF8.self))
        }
        return nil
    }

    /// Base 64 with padding (RFC 4648, section 4).
    private static func base64(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let value = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            for place in 0..<4 {
                text.append(place <= group.count ? alphabet[value >> (18 - 6 * place) & 63] : UInt8(ascii: "="))
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// SHA-1 (FIPS 180-4), which the handshake asks for and nothing here relies on: it shows that the server read the key.
enum SHA1 {
    /// The digest of a short text.
    static func digest(_ message: [UInt8]) -> [UInt8] {
        var state: [UInt32] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0]
        var bytes = message + [0x80]
        while bytes.count % 64 != 56 { bytes.append(0) }
        bytes += (0..<8).map { UInt8(truncatingIfNeeded: (UInt64(message.count) * 8) >> (56 - 8 * UInt64($0))) }
        for start in stride(from: 0, to: bytes.count, by: 64) {
            var words = (0..<16).map { index in
                bytes[(start + 4 * index)..<(start + 4 * index + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            }
            for index in 16..<80 {
                words.append(rotate(words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16], 1))
            }
            var (a, b, c, d, e) = (state[0], state[1], state[2], state[3], state[4])
            for index in 0..<80 {
                let (mixed, constant): (UInt32, UInt32) =
                    switch index {
                    case ..<20: (b & c | ~b & d, 0x5a82_7999)
                    case ..<40: (b ^ c ^ d, 0x6ed9_eba1)
                    case ..<60: (b & c | b & d | c & d, 0x8f1b_bcdc)
                    default: (b ^ c ^ d, 0xca62_c1d6)
                    }
                let next = rotate(a, 5) &+ mixed &+ e &+ constant &+ words[index]
                (e, d, c, b, a) = (d, c, rotate(b, 30), a, next)
            }
            for (index, value) in [a, b, c, d, e].enumerated() { state[index] &+= value }
        }
        return state.flatMap { word in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> $0) } }
    }

    private static func rotate(_ word: UInt32, _ count: UInt32) -> UInt32 { word << count | word >> (32 - count) }
}
