internal import CCurl

/// The library that carries requests.
package enum CurlLibrary {
    /// Name and version with those of what it uses, as it tells them: `libcurl/7.88.1 OpenSSL/3.0.17 …`.
    package static var version: String {
        guard let text = unsafe curl_version() else { return "libcurl" }
        return unsafe String(cString: text)
    }
}
