internal import CCurl
internal import CCurlShims

/// One `CURL *`, used again and again for one transfer after another. Only the loop's thread touches it.
@safe final class CurlEasyHandle {
    let raw: UnsafeMutableRawPointer
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private var connectList: UnsafeMutablePointer<curl_slist>?
    /// The first option that libcurl refused since the last `reset`.
    private var refused: (option: CURLoption, code: CURLcode)?

    /// Nil when libcurl has no memory.
    init?() {
        guard let raw = unsafe curl_easy_init() else { return nil }
        unsafe self.raw = raw
    }

    deinit {
        unsafe curl_easy_cleanup(raw)
        unsafe curl_slist_free_all(headerList)
        unsafe curl_slist_free_all(connectList)
    }

    /// Forgets the last transfer; connections stay open.
    func reset() {
        unsafe curl_easy_reset(raw)
        unsafe curl_slist_free_all(headerList)
        unsafe headerList = nil
        unsafe curl_slist_free_all(connectList)
        unsafe connectList = nil
        refused = nil
    }

    // MARK: Settings

    private func note(_ option: CURLoption, _ code: CURLcode) {
        if code != CURLE_OK, refused == nil { refused = (option, code) }
    }

    private func set(_ option: CURLoption, _ value: Int) {
        note(option, unsafe CCurlShims_easy_setopt_long(raw, option, value))
    }

    private func set(_ option: CURLoption, _ value: String) {
        note(option, unsafe CCurlShims_easy_setopt_string(raw, option, value))
    }

    private func set(_ option: CURLoption, blob bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            note(option, unsafe CCurlShims_easy_setopt_blob(raw, option, base, bytes.count))
        }
    }

    /// Readies the handle for `transfer`, which must stay alive until the transfer is over. Nil when all is well,
    /// else what is wrong with the request.
    func prepare(for transfer: CurlTransfer, _ configuration: CurlTransportConfiguration) -> HTTPTransportError? {
        let request = transfer.request
        if let error = setAddressAndHeaders(request, configuration) { return error }
        setMethod(request)
        setConnection(request, configuration)
        setTrust(configuration)
        setCallbacks(transfer)
        return refusal(request)
    }

    /// Readies the handle to connect to where `request` goes, TLS included, and no more.
    func prepareConnection(
        for request: HTTPRequest, _ configuration: CurlTransportConfiguration
    ) -> HTTPTransportError? {
        if let error = setAddressAndHeaders(request, configuration) { return error }
        setConnection(request, configuration)
        setTrust(configuration)
        set(CURLOPT_CONNECT_ONLY, 1)
        // What follows is no HTTP that a proxy could read.
        set(CURLOPT_HTTPPROXYTUNNEL, 1)
        return refusal(request)
    }

    private func refusal(_ request: HTTPRequest) -> HTTPTransportError? {
        guard let refused else { return nil }
        let reason = unsafe String(cString: curl_easy_strerror(refused.code))
        return HTTPTransportError(
            .failed, "cannot \(request.label): libcurl refuses its option \(refused.option.rawValue): \(reason)")
    }

    private func setAddressAndHeaders(
        _ request: HTTPRequest, _ configuration: CurlTransportConfiguration
    ) -> HTTPTransportError? {
        guard request.url.hasPrefix("http://") || request.url.hasPrefix("https://"),
            request.url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else {
            return HTTPTransportError(
                .invalidRequest, "cannot \(request.label): no percent-encoded http or https address")
        }
        let named = configuration.serverName.flatMap { RenamedAddress(request.url, as: $0) }
        set(CURLOPT_URL, named?.url ?? request.url)
        if let named {
            guard let list = unsafe curl_slist_append(nil, named.connectTo) else {
                return HTTPTransportError(.failed, "cannot \(request.label): out of memory")
            }
            unsafe connectList = list
            note(CURLOPT_CONNECT_TO, unsafe CCurlShims_easy_setopt_slist(raw, CURLOPT_CONNECT_TO, connectList))
        }
        var lines = request.headers.fields.map { field in
            // "Name;" is libcurl's way to send a header without a value.
            field.value.isEmpty ? "\(field.name);" : "\(field.name): \(field.value)"
        }
        let badLine = request.headers.fields.firstIndex { field in
            let isToken = field.name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x3a && $0 != 0x3b }
            return field.name.isEmpty || !isToken || field.value.utf8.contains { $0 == 0x0a || $0 == 0x0d || $0 == 0 }
        }
        if let badLine {
            return HTTPTransportError(
                .invalidRequest, "cannot \(request.label): header number \(badLine + 1) is malformed")
        }
        if let named { lines.append("Host: \(named.host)") }
        lines.append(request.expectsContinue ? "Expect: 100-continue" : "Expect:")
        for line in lines {
            guard let longer = unsafe curl_slist_append(headerList, line) else {
                return HTTPTransportError(.failed, "cannot \(request.label): out of memory")
            }
            unsafe headerList = longer
        }
        note(CURLOPT_HTTPHEADER, unsafe CCurlShims_easy_setopt_slist(raw, CURLOPT_HTTPHEADER, headerList))
        return nil
    }

    private func setMethod(_ request: HTTPRequest) {
        if let body = request.body {
            set(CURLOPT_UPLOAD, 1)
            let code = unsafe CCurlShims_easy_setopt_off(raw, CURLOPT_INFILESIZE_LARGE, Int64(body.count))
            note(CURLOPT_INFILESIZE_LARGE, code)
            // libcurl asks for as much at a time as its buffer holds: few calls for a pack, little memory for the rest.
            set(CURLOPT_UPLOAD_BUFFERSIZE, body.count >= 1 << 20 ? 2 << 20 : 64 << 10)
            // A request without body bytes could be sent twice by libcurl when a kept connection turns out dead.
            if !request.isReplayable, body.count == 0 { set(CURLOPT_FRESH_CONNECT, 1) }
        } else if request.method == .head {
            set(CURLOPT_NOBODY, 1)
        }
        if request.method != .head { set(CURLOPT_CUSTOMREQUEST, request.method.rawValue) }
    }

    private func setConnection(_ request: HTTPRequest, _ configuration: CurlTransportConfiguration) {
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_PATH_AS_IS, 1)
        set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1)
        set(CURLOPT_BUFFERSIZE, 512 << 10)
        set(CURLOPT_TCP_KEEPALIVE, 1)
        set(CURLOPT_DNS_SHUFFLE_ADDRESSES, 1)
        set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        set(CURLOPT_USERAGENT, configuration.userAgent)
        set(CURLOPT_CONNECTTIMEOUT_MS, configuration.connectMilliseconds)
        set(CURLOPT_LOW_SPEED_LIMIT, 1)
        set(CURLOPT_LOW_SPEED_TIME, request.stallSeconds ?? configuration.stallSeconds)
        if let total = request.totalMilliseconds { set(CURLOPT_TIMEOUT_MS, total) }
        if let proxy = configuration.proxy {
            set(CURLOPT_PROXY, proxy)
            set(CURLOPT_NOPROXY, "")
        }
        if request.bypassesProxy { set(CURLOPT_NOPROXY, "*") }
    }

    private func setTrust(_ configuration: CurlTransportConfiguration) {
        set(CURLOPT_SSL_VERIFYPEER, 1)
        set(CURLOPT_SSL_VERIFYHOST, 2)
        switch configuration.authorities {
        case .system: if let path = SystemAuthorities.path { set(CURLOPT_CAINFO, path) }
        case .file(let path):
            set(CURLOPT_CAINFO, path)
            unsetSystemDirectory()
        case .pem(let bytes):
            set(CURLOPT_CAINFO_BLOB, blob: bytes)
            unsetSystemDirectory()
        case .anyone:
            set(CURLOPT_SSL_VERIFYPEER, 0)
            set(CURLOPT_SSL_VERIFYHOST, 0)
        }
        if let identity = configuration.identity {
            set(CURLOPT_SSLCERT_BLOB, blob: identity.certificate)
            set(CURLOPT_SSLKEY_BLOB, blob: identity.key)
        }
    }

    /// libcurl adds the system's directory of certificates to what it is given unless told not to.
    private func unsetSystemDirectory() {
        note(CURLOPT_CAPATH, unsafe CCurlShims_easy_setopt_string(raw, CURLOPT_CAPATH, nil))
    }

    private func setCallbacks(_ transfer: CurlTransfer) {
        let context = unsafe Unmanaged.passUnretained(transfer).toOpaque()
        for option in [CURLOPT_PRIVATE, CURLOPT_READDATA, CURLOPT_WRITEDATA, CURLOPT_HEADERDATA, CURLOPT_SEEKDATA] {
            note(option, unsafe CCurlShims_easy_setopt_pointer(raw, option, context))
        }
        let text = unsafe UnsafeMutableRawPointer(transfer.errorText)
        note(CURLOPT_ERRORBUFFER, unsafe CCurlShims_easy_setopt_pointer(raw, CURLOPT_ERRORBUFFER, text))
        let read = unsafe CCurlShims_easy_setopt_data(raw, CURLOPT_READFUNCTION) { buffer, size, count, context in
            guard let transfer = unsafe CurlEasyHandle.transfer(context) else { return 0 }
            return unsafe transfer.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: size * count))
        }
        note(CURLOPT_READFUNCTION, read)
        let write = unsafe CCurlShims_easy_setopt_data(raw, CURLOPT_WRITEFUNCTION) { buffer, size, count, context in
            guard let transfer = unsafe CurlEasyHandle.transfer(context) else { return 0 }
            let bytes = unsafe UnsafeRawBufferPointer(start: buffer, count: size * count)
            return unsafe transfer.writeAnswer(bytes)
        }
        note(CURLOPT_WRITEFUNCTION, write)
        let header = unsafe CCurlShims_easy_setopt_data(raw, CURLOPT_HEADERFUNCTION) { buffer, size, count, context in
            guard let transfer = unsafe CurlEasyHandle.transfer(context) else { return 0 }
            let line = unsafe UnsafeRawBufferPointer(start: buffer, count: size * count)
            return unsafe transfer.takeHeader(line) ? line.count : 0
        }
        note(CURLOPT_HEADERFUNCTION, header)
        guard transfer.request.isReplayable else { return }
        let seek = unsafe CCurlShims_easy_setopt_seek(raw) { context, offset, origin in
            guard let transfer = unsafe CurlEasyHandle.transfer(context), origin == 0 else {
                return CURL_SEEKFUNC_FAIL
            }
            return transfer.seek(to: Int64(offset)) ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL
        }
        note(CURLOPT_SEEKFUNCTION, seek)
    }

    private static func transfer(_ context: UnsafeMutableRawPointer?) -> CurlTransfer? {
        guard let context = unsafe context else { return nil }
        return unsafe Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue()
    }

    // MARK: Answers

    /// Whether any byte of the request was sent since the last `reset`.
    var hasSent: Bool {
        var size = 0
        return unsafe CCurlShims_easy_getinfo_long(raw, CURLINFO_REQUEST_SIZE, &size) == CURLE_OK && size > 0
    }

    // MARK: A connection without a transfer

    /// Why bytes did not get through.
    struct Failure: Error, CustomStringConvertible {
        let code: CURLcode
        var description: String { unsafe String(cString: curl_easy_strerror(code)) }
    }

    /// Connects as `prepareConnection` said; blocks until that has worked or not, and answers with the reason if not.
    func connect() -> (CURLcode, reason: String) {
        var text = [CChar](repeating: 0, count: CurlTransfer.errorTextSize)
        return unsafe text.withUnsafeMutableBufferPointer { text -> (CURLcode, reason: String) in
            let start = UnsafeMutableRawPointer(text.baseAddress)
            _ = unsafe CCurlShims_easy_setopt_pointer(raw, CURLOPT_ERRORBUFFER, start)
            let code = unsafe curl_easy_perform(raw)
            _ = unsafe CCurlShims_easy_setopt_pointer(raw, CURLOPT_ERRORBUFFER, nil)
            guard let first = text.baseAddress else { return (code, "") }
            return (code, unsafe CurlOutcome.text(first, code))
        }
    }

    /// The connection's file descriptor, for poll(2) only; -1 when there is none.
    var socket: CInt {
        var value: CInt = -1
        return unsafe CCurlShims_easy_getinfo_socket(raw, &value) == CURLE_OK ? value : -1
    }

    /// Sends what the connection takes now; how much that was.
    func send(_ bytes: ArraySlice<UInt8>) -> Result<Int, Failure> {
        guard !bytes.isEmpty else { return .success(0) }
        var count = 0
        let code = unsafe bytes.withUnsafeBytes { unsafe curl_easy_send(raw, $0.baseAddress, $0.count, &count) }
        if code == CURLE_AGAIN { return .success(0) }
        return code == CURLE_OK ? .success(count) : .failure(Failure(code: code))
    }

    /// Receives what is there; how much that was, 0 at the peer's end, nil when there is nothing yet.
    func receive(_ block: inout [UInt8]) -> Result<Int?, Failure> {
        var count = 0
        let code = unsafe block.withUnsafeMutableBytes { unsafe curl_easy_recv(raw, $0.baseAddress, $0.count, &count) }
        if code == CURLE_AGAIN { return .success(nil) }
        return code == CURLE_OK ? .success(count) : .failure(Failure(code: code))
    }
}
