internal import ObjectStorage

/// A bucket's access point, named by its ARN: `arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME` ("Using access points", Amazon S3
/// User Guide). Its host is its own; its requests are signed for its region.
struct S3AccessPoint: Hashable, Sendable {
    let region: String
    let account: String
    let name: String

    /// What stands before the service's host.
    var hostLabel: String { "\(name)-\(account)" }

    /// The access point of an ARN, nil for what is no ARN. Throws `.invalidArgument` for ARNs of anything else.
    static func parse(_ text: String) throws(ObjectStorageError) -> S3AccessPoint? {
        guard text.hasPrefix("arn:") else { return nil }
        let parts = text.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false).map(String.init)
        let problem = ObjectStorageError(
            .invalidArgument,
            "\(ServerText.line(String(reflecting: text))) is no bucket's name and no access point's ARN; write BUCKET or arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME"
        )
        guard parts.count == 6, parts[1].hasPrefix("aws"), parts[2] == "s3" else { throw problem }
        let resource = parts[5].split(maxSplits: 1, omittingEmptySubsequences: false) { $0 == "/" || $0 == ":" }
        guard resource.count == 2, resource[0] == "accesspoint", isLabel(resource[1]), isLabel(parts[4]) else {
            throw problem
        }
        guard S3Configuration.isRegion(parts[3]) else {
            throw ObjectStorageError(
                .invalidArgument,
                "\(ServerText.line(text)) is an access point of several regions, which is signed for in another way; name one region's, or the bucket"
            )
        }
        return S3AccessPoint(region: parts[3], account: parts[4], name: String(resource[1]))
    }

    private static func isLabel(_ text: some StringProtocol) -> Bool {
        (1...63).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "-")
            }
    }
}
