package import Basics

/// Keys to sign with. The secret parts never show in descriptions, dumps or debuggers' summaries.
package struct AWSCredentials: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    package var accessKeyID: String
    package var secretAccessKey: String
    package var sessionToken: String?
    /// When they end; nil for keys that last.
    package var expiration: Timestamp?

    package init(
        accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil, expiration: Timestamp? = nil
    ) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
        self.expiration = expiration
    }

    /// The access key's id alone, which is no secret.
    package var description: String { "AWS credentials \(accessKeyID)" }
    /// As `description`.
    package var debugDescription: String { description }
    /// Has no children.
    package var customMirror: Mirror { Mirror(self, children: []) }
}
