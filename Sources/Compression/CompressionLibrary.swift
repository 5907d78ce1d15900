internal import CZstd

/// The library that compresses.
package enum CompressionLibrary {
    /// Name and version: `zstd 1.5.4`.
    package static var version: String {
        guard let text = unsafe ZSTD_versionString() else { return "zstd" }
        return unsafe "zstd \(String(cString: text))"
    }
}
