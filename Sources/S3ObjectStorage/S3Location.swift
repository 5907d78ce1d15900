package import ObjectStorage

/// A bucket and what all keys in it begin with: `s3://bucket/prefix`.
package struct S3Location: Hashable, Sendable, CustomStringConvertible {
    /// The bucket's name, or an access point's ARN.
    package let bucket: String
    /// Set when `bucket` is an access point's ARN.
    let accessPoint: S3AccessPoint?
    /// Without slashes at its ends; may be empty.
    package let prefix: String

    /// The bucket and prefix given apart. Throws `.invalidArgument` when either cannot be.
    package init(bucket: String, prefix: String = "") throws(ObjectStorageError) {
        accessPoint = try S3AccessPoint.parse(bucket)
        let isName =
            accessPoint != nil
            || (1...255).contains(bucket.utf8.count)
                && bucket.utf8.allSatisfy { byte in
                    switch byte {
                    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                        true
                    default: false
                    }
                } && bucket != "." && bucket != ".."
        guard isName else {
            throw ObjectStorageError(
                .invalidArgument, "\(String(reflecting: bucket)) is no bucket's name; write s3://BUCKET/PREFIX")
        }
        let parts = prefix.split(separator: "/", omittingEmptySubsequences: true)
        let isPrefix =
            prefix.utf8.count <= 500 && !parts.contains { $0 == "." || $0 == ".." }
            && !prefix.utf8.contains { $0 < 0x20 || $0 == 0x7f }
        guard isPrefix else {
            throw ObjectStorageError(
                .invalidArgument,
                "\(String(reflecting: prefix)) cannot begin the names of objects: at most 500 bytes, no '.' or '..' parts"
            )
        }
        self.bucket = bucket
        self.prefix = parts.joined(separator: "/")
    }

    /// The location that `text` names: `s3://bucket` or `s3://bucket/prefix`. Throws `.invalidArgument`.
    package static func parse(_ text: String) throws(ObjectStorageError) -> S3Location {
        guard text.hasPrefix("s3://") else {
            throw ObjectStorageError(
                .invalidArgument, "\(String(reflecting: text)) is no S3 location; write s3://BUCKET/PREFIX")
        }
        let rest = text.dropFirst("s3://".count)
        let bucket = rest.prefix { $0 != "/" }
        return try S3Location(bucket: String(bucket), prefix: String(rest.dropFirst(bucket.count)))
    }

    /// The object's whole key in the bucket.
    func objectKey(_ key: String) -> String { prefix.isEmpty ? key : "\(prefix)/\(key)" }

    /// The relative key of an object in the bucket; nil when it lies outside.
    func relativeKey(_ objectKey: String) -> String? {
        if prefix.isEmpty { return objectKey }
        guard objectKey.hasPrefix("\(prefix)/") else { return nil }
        return String(objectKey.dropFirst(prefix.count + 1))
    }

    package var description: String { prefix.isEmpty ? "s3://\(bucket)" : "s3://\(bucket)/\(prefix)" }
}
