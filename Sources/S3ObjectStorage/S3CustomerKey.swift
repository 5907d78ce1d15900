/// A key that goes along with each request for the server to encrypt with ("Using server-side encryption with customer-provided
/// keys", Amazon S3 User Guide). It shows in no description.
package struct S3CustomerKey: Sendable, CustomStringConvertible, CustomReflectable {
    /// Bytes of a key.
    package static let size = 32

    /// For requests that store or read an object, and for those that begin, fill and complete an upload in parts.
    let headers: [(name: String, value: String)]

    /// The key of exactly 32 bytes; nil for another number of them.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.size else { return nil }
        var digest = MD5()
        bytes.withUnsafeBytes { digest.update($0) }
        let name = "x-amz-server-side-encryption-customer-"
        headers = [
            (name + "algorithm", "AES256"), (name + "key", Base64.encode(bytes)),
            (name + "key-MD5", Base64.encode(digest.finish())),
        ]
    }

    package var description: String { "customer key" }
    /// Has no children.
    package var customMirror: Mirror { Mirror(self, children: []) }
}
