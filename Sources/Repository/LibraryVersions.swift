internal import Compression
internal import Sealing

/// The libraries that a repository's work rests on, for `doctor`.
package enum LibraryVersions {
    /// Names and versions as the libraries tell them.
    package static var all: [String] { [CryptographicLibrary.version, CompressionLibrary.version] }
}
