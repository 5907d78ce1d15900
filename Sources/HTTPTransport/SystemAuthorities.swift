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

    /// The certificates themselves, PEM; empty where the machine keeps none.
    static let certificates: [UInt8] = {
        let own = unsafe CCurlShims_default_authorities().map { unsafe String(cString: $0) }
        for candidate in [own].compactMap(\.self) + candidates {
            guard let file = unsafe fopen(candidate, "re") else { continue }
            defer { unsafe _ = fclose(file) }
            var bytes: [UInt8] = []
            var block = [UInt8](repeating: 0, count: 64 << 10)
            while bytes.count < maximumBytes {
                let count = unsafe fread(&block, 1, block.count, file)
                if count == 0 { break }
                bytes += block.prefix(count)
            }
            if !bytes.isEmpty { return bytes }
        }
        return []
    }()

    /// Bytes of certificates that are taken: the bundles have some 200 KiB.
    private static let maximumBytes = 8 << 20

    /// Debian and its kin; Fedora, RHEL; openSUSE; RHEL 7; Alpine.
    private static let candidates = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
    ]
}
