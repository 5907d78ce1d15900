internal import Basics
internal import HTTPTransport

/// One S3 operation on one object or on the bucket, before addressing and signing.
struct S3Call: Sendable {
    /// A verb for messages: "store", "read", "list".
    var action: String
    /// The key as the caller of the store gave it, for messages; nil for the bucket.
    var label: String?
    var method: HTTPMethod
    /// The object's whole key; nil for the bucket.
    var key: String?
    var query: [(name: String, value: String)] = []
    /// Headers to be sent and signed.
    var headers: [(name: String, value: String)] = []
    var body: HTTPBody?
    /// The part that is asked for, where one is.
    var range: Range<UInt64>?
    /// Asks before it sends the body.
    var expectsContinue = false
    /// Whether doing it twice does no harm.
    var isReplayable = true
    var stallSeconds: Int?
    /// Whether the call concerns retention: some refusals then mean that the bucket keeps none.
    var concernsRetention = false

    /// The body's hash or its stand-in, once known.
    var payloadHash: String?
    /// The body's SHA-256, kept when it serves twice.
    var bodyDigest: [UInt8]?

    /// Whether the server shall compare something first.
    var isConditional: Bool { headers.contains { $0.name == "If-Match" || $0.name == "If-None-Match" } }

    /// "cannot store data/x in s3://bucket/prefix".
    func failing(_ location: S3Location) -> String {
        label.map { "cannot \(action) \($0) in \(location)" } ?? "cannot \(action) \(location)"
    }
}
