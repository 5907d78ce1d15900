package import ArgumentParser
internal import Basics
internal import Orchestration
internal import RepositoryFormat

/// What a new key slot is to be opened with.
package struct NewKeyOptions: ParsableArguments, Sendable {
    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            Read the new password from a file. Otherwise BECALM_NEW_PASSWORD, the file BECALM_NEW_PASSWORD_FILE, or \
            what the command BECALM_NEW_PASSWORD_COMMAND prints; else it is asked for, twice.
            """, valueName: "file"),
        completion: .file())
    package var newPasswordFile: String?

    @Option(
        name: .long,
        help: ArgumentHelp("A file of at least 32 random bytes instead of a password.", valueName: "file"),
        completion: .file())
    package var newKeyFile: String?

    package init() {}

    package mutating func validate() throws {
        guard newPasswordFile == nil || newKeyFile == nil else {
            throw ValidationError("Give one of '--new-password-file' and '--new-key-file'.")
        }
    }

    /// The new credential, found on a thread that may block.
    func credential(_ context: CommandContext) async throws -> KeyCredential {
        let (passwordFile, keyFile) = (newPasswordFile, newKeyFile)
        return try await BlockingBridge.offload(name: "becalm-key") {
            Result {
                try Credentials(context: context).find(
                    Credentials.Source(
                        passwordFile: passwordFile, keyFile: keyFile, identity: nil, variable: "BECALM_NEW_PASSWORD",
                        question: "New password", option: "--new-password-file", isNew: true))
            }
        }
    }
}
