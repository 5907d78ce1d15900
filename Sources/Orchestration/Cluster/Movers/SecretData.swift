internal import FoundationEssentials

/// Bytes as entries of Secrets are written: base 64 with padding (RFC 4648, section 4).
enum SecretData {
    /// The text for these bytes.
    static func text(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }
}
