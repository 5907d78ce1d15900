/// Where credentials come from, for `doctor` and for messages; holds no secret.
package enum CredentialSource: Hashable, Sendable, CustomStringConvertible {
    /// Given by the caller.
    case explicit
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    case environment
    /// A token exchanged for a role's credentials.
    case webIdentity(role: String, tokenFile: String)
    /// A profile; `detail` says by which of its settings.
    case profile(name: String, detail: String)
    /// The container's credential service.
    case container(address: String)
    /// The instance's role.
    case instanceMetadata

    package var description: String {
        switch self {
        case .explicit: "keys given explicitly"
        case .environment: "environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        case .webIdentity(let role, let tokenFile): "web identity token \(tokenFile) for role \(role)"
        case .profile(let name, let detail): "profile \(name) (\(detail))"
        case .container(let address): "container credential service \(address)"
        case .instanceMetadata: "instance metadata service"
        }
    }
}
