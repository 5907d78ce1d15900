internal import Basics
internal import FoundationEssentials
internal import ObjectStorage

/// The JSON in which container services, the metadata service and credential processes give credentials.
struct CredentialDocument: Decodable {
    private let version: Int?
    private let code: String?
    private let accessKeyID: String?
    private let secretAccessKey: String?
    private let token: String?
    private let sessionToken: String?
    private let expiration: String?

    private enum CodingKeys: String, CodingKey {
        case version = "Version"
        case code = "Code"
        case accessKeyID = "AccessKeyId"
        case secretAccessKey = "SecretAccessKey"
        case token = "Token"
        case sessionToken = "SessionToken"
        case expiration = "Expiration"
    }

    /// The credentials in a document. Throws `.expiredCredentials`; the message never holds the document.
    static func parse(_ bytes: [UInt8], from source: String) throws(ObjectStorageError) -> AWSCredentials {
        let document: CredentialDocument
        do {
            document = try JSONDecoder().decode(CredentialDocument.self, from: Data(bytes))
        } catch {
            // The decoder's error may quote the document: it is not passed on.
            throw ObjectStorageError(
                .expiredCredentials, "\(source) answers with something else than credentials in JSON")
        }
        if let code = document.code, code != "Success" {
            throw ObjectStorageError(.expiredCredentials, "\(source) has no credentials: \(ServerText.line(code))")
        }
        return try CredentialServices.credentials(
            document.accessKeyID, document.secretAccessKey, document.token ?? document.sessionToken,
            document.expiration, from: source)
    }
}
