import Basics
import S3ObjectStorage
import Testing

/// Vectors: the "AWS Signature Version 4 test suite" and the worked examples of the Amazon S3 API Reference.
@Suite("Signature Version 4")
struct SigV4SignerTests {
    private static let suite = AWSCredentials(
        accessKeyID: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    private static let example = AWSCredentials(
        accessKeyID: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")

    struct Vector: Sendable, CustomTestStringConvertible {
        let name: String
        var method = "GET"
        var path = "/"
        var query: [(String, String)] = []
        var headers: [(String, String)] = []
        var payload = SigV4Signer.emptyPayloadHash
        let signature: String
        var testDescription: String { name }
    }

    private static let suiteVectors = [
        Vector(name: "get-vanilla", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        Vector(
            name: "get-vanilla-query-order-key-case", query: [("Param2", "value2"), ("Param1", "value1")],
            signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        Vector(
            name: "post-vanilla", method: "POST",
            signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ]

    @Test("The suite's requests", arguments: suiteVectors)
    func suiteVector(vector: Vector) throws {
        let time = try #require(CalendarTime.parse(rfc3339: "2015-08-30T12:36:00Z"))
        let request = SigV4Signer.Request(
            method: vector.method, path: vector.path, query: vector.query,
            headers: vector.headers + [("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")],
            payloadHash: vector.payload)
        let value = SigV4Signer(service: "service").authorization(
            request, region: "us-east-1", credentials: Self.suite, time: time)
        #expect(
            value
                == "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,SignedHeaders=host;x-amz-date,Signature=\(vector.signature)"
        )
    }

    private static let exampleVectors = [
        Vector(
            name: "GET Object", path: "/test.txt", headers: [("Range", "bytes=0-9")],
            signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        Vector(
            name: "PUT Object", method: "PUT", path: "/test%24file.text",
            headers: [("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            payload: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        Vector(
            name: "GET Bucket Lifecycle", query: [("lifecycle", "")],
            signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        Vector(
            name: "List Objects", query: [("prefix", "J"), ("max-keys", "2")],
            signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ]

    @Test("The S3 reference's examples", arguments: exampleVectors)
    func exampleVector(vector: Vector) throws {
        let signer = SigV4Signer(service: "s3")
        let time = try #require(CalendarTime.parse(rfc3339: "2013-05-24T00:00:00Z"))
        let request = SigV4Signer.Request(
            method: vector.method, path: vector.path, query: vector.query,
            headers: vector.headers + [
                ("Host", "examplebucket.s3.amazonaws.com"), ("x-amz-date", "20130524T000000Z"),
                ("x-amz-content-sha256", vector.payload),
            ], payloadHash: vector.payload)
        for _ in 0..<2 {  // The second time with the kept key.
            let value = signer.authorization(request, region: "us-east-1", credentials: Self.example, time: time)
            #expect(value.hasSuffix("Signature=\(vector.signature)"))
        }
        var other = Self.example
        other.secretAccessKey += "x"
        for (region, credentials, time) in [
            ("eu-west-1", Self.example, time), ("us-east-1", other, time),
            ("us-east-1", Self.example, time.advanced(bySeconds: 86_400)),
        ] {
            let value = signer.authorization(request, region: region, credentials: credentials, time: time)
            #expect(!value.hasSuffix("Signature=\(vector.signature)"), "the kept key serves only what it is for")
        }
    }

    @Test("The S3 reference's presigned address")
    func presigned() throws {
        let time = try #require(CalendarTime.parse(rfc3339: "2013-05-24T00:00:00Z"))
        let request = SigV4Signer.Request(
            method: "GET", path: "/test.txt", headers: [("Host", "examplebucket.s3.amazonaws.com")],
            payloadHash: SigV4Signer.unsignedPayload)
        let query = SigV4Signer(service: "s3").presignedQuery(
            request, region: "us-east-1", credentials: Self.example, time: time, seconds: 86_400)
        #expect(
            query
                == "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        )
    }

    @Test("Names and values are encoded and then sorted by bytes")
    func canonicalQuery() {
        let query = [("b", "2"), ("a", "é+ /"), ("a", "%"), ("A", ""), ("a-", "~_.-")]
        #expect(SigV4Signer.canonicalQuery(query) == "A=&a=%25&a=%C3%A9%2B%20%2F&a-=~_.-&b=2")
    }

    @Test("Credentials show no secret")
    func descriptions() {
        let credentials = AWSCredentials(accessKeyID: "id", secretAccessKey: "s3cr3t", sessionToken: "t0k3n")
        var dumped = ""
        dump(credentials, to: &dumped)
        for text in ["\(credentials)", String(reflecting: credentials), "\([credentials])", dumped] {
            #expect(!text.contains("s3cr3t") && !text.contains("t0k3n"))
        }
    }
}
