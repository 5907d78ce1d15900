internal import CCurlShims

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Where this machine keeps the certificates it believes in.
enum SystemAuthorities {
    /// A bundle to name to libcurl, or nil when its own default exists: a libcurl linked statically does not know the
    /// distribution it runs on.
    static let path: String? = {
        if let own = unsafe CCurlShims_default_authorities(), unsafe access(own, R_OK) == 0 {
            return nil
        }
        return candidates.first { unsafe access($0, R_OK) == 0 }
    }()

    /// Debian and its kin; Fedora, RHEL; openSUSE; RHEL 7; Alpine.
    private static let candidates = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
    ]
}
