internal import Orchestration
internal import RepositoryFormat
internal import Snapshots

/// Finds what opens the repository. No secret is ever taken from the command line. Everything blocks.
struct Credentials: Sendable {
    let context: CommandContext

    /// Which secret is meant: the one in use, or one to come. Says where each may come from.
    struct Source {
        var passwordFile: String?
        var keyFile: String?
        var identity: String?
        /// `BECALM_PASSWORD` or `BECALM_NEW_PASSWORD`; `_FILE` and `_COMMAND` are beside it.
        var variable: String
        /// What the prompt says.
        var question: String
        /// The option that names a file with it.
        var option: String
        /// Whether a password is being set: then it is asked for twice.
        var isNew: Bool
    }

    /// The credential that opens the repository; `isNew` when it is being made.
    func present(_ options: GlobalOptions, isNew: Bool = false) throws(JourneyError) -> KeyCredential {
        try find(
            Source(
                passwordFile: options.passwordFile, keyFile: options.keyFile, identity: options.identity,
                variable: "BECALM_PASSWORD", question: "Password of the repository", option: "--password-file",
                isNew: isNew))
    }

    /// The first that is there of: options, variable, file, command, prompt.
    func find(_ source: Source) throws(JourneyError) -> KeyCredential {
        if let file = source.keyFile {
            let content = try SystemFiles.read(context.path(file), what: "the key file")
            return try KeyMaterial.keyFile(content, source: "the key file \(file)")
        }
        if let file = source.identity {
            let path = context.path(file)
            let content = try SystemFiles.read(path, what: "the identity file", maximumBytes: 64 << 10)
            return try IdentityText.credential(content, file: PathText.display(path))
        }
        let password: [UInt8]
        if let file = source.passwordFile {
            password = KeyMaterial.line(try SystemFiles.read(context.path(file), what: "the password file"))
        } else if let given = try passphrase(source.variable) {
            password = given
        } else {
            let prompt = PasswordPrompt(
                interruption: context.interruption, option: source.option, variable: source.variable)
            password =
                source.isNew ? try prompt.askTwice(source.question) : try prompt.ask("\(source.question): ")
        }
        return try KeyMaterial.password(password, source: "the password that was given")
    }

    /// A passphrase from a variable, the file or the command beside it; nil for none of them. Never asks.
    func passphrase(_ variable: String) throws(JourneyError) -> [UInt8]? {
        if let text = context.variable(variable) { return Array(text.utf8) }
        if let file = context.variable("\(variable)_FILE") {
            return KeyMaterial.line(
                try SystemFiles.read(context.path(file), what: "the password file of \(variable)_FILE"))
        }
        if let command = context.variable("\(variable)_COMMAND") {
            return KeyMaterial.line(
                try ShellCommand.output(
                    of: command, what: "the command of \(variable)_COMMAND", environment: context.environment))
        }
        return nil
    }
}
