package import ArgumentParser
internal import Basics
package import Orchestration
internal import Snapshots

/// `becalm manifest`
package struct ManifestCommand: RunnableCommand {
    /// How it is written.
    package enum Form: String, Sendable, CaseIterable, ExpressibleByArgument {
        case json
        case sha256sum
        case modelSigning = "model-signing"
    }

    package static let configuration = CommandConfiguration(
        commandName: "manifest",
        abstract: "Write the digests of a snapshot's files, for others to check.",
        discussion: """
            json: every entry with type, mode, size and SHA-256. sha256sum: what 'sha256sum -c' reads, run in the \
            directory that the manifest is of. model-signing: a bundle that OpenSSF's 'model_signing verify key' \
            accepts, signed with an EC key (P-256, P-384 or P-521).

            The signature's verifier takes no symbolic link anywhere in the model, unless it is told to follow them; \
            with '--follow-symlinks' links to files count as the files, and it must be called with \
            '--allow_symlinks'. What it leaves out itself is left out: '.git', '.gitattributes', '.github', \
            '.gitignore' and 'model.sig' at the top. The passphrase of an encrypted key is taken from \
            BECALM_SIGN_PASSWORD, the file BECALM_SIGN_PASSWORD_FILE, or the command BECALM_SIGN_PASSWORD_COMMAND.

            EXAMPLE:
              $ becalm manifest latest --format sha256sum | (cd /tmp/back && sha256sum -c)
              $ becalm manifest latest --path llama --format model-signing --sign key.pem --output model.sig
            """)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: "Which snapshot: the beginning of its id, 'latest' or 'latest:SOURCE'.")
    package var snapshot: String

    @Option(name: .long, help: ArgumentHelp("How to write it.", valueName: "form"))
    package var format: Form = .json

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Only what lies below this directory of the snapshot; names are relative to it.", valueName: "path"))
    package var path: String?

    @Option(
        name: [.short, .long],
        help: ArgumentHelp("Write to a file instead of standard output.", valueName: "file"), completion: .file())
    package var output: String?

    @Option(
        name: .long,
        help: ArgumentHelp("The private EC key that signs, in PEM; for model-signing.", valueName: "file"),
        completion: .file())
    package var sign: String?

    @Flag(name: .long, help: "Sign links to files as what they lead to; for model-signing.")
    package var followSymlinks = false

    @Option(
        name: .long,
        help: ArgumentHelp("Leave a path out of the signature; may be repeated; for model-signing.", valueName: "path"))
    package var ignore: [String] = []

    package init() {}

    package mutating func validate() throws {
        if format == .modelSigning {
            guard sign != nil else { throw ValidationError("'--format model-signing' needs '--sign KEY'.") }
        } else if sign != nil || followSymlinks || !ignore.isEmpty {
            throw ValidationError("'--sign', '--follow-symlinks' and '--ignore' are for '--format model-signing'.")
        }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let form = try await form(context)
        let repository = try await RepositorySession(global, context).open(.reading)
        let journey = InspectionJourney(repository: repository)
        let root = context.bytes(of: path ?? "")
        guard let output else {
            let output = context.output
            try await journey.manifest(snapshot, root: root, form: form) { piece in
                output.raw(piece)
                output.flushIfLarge()
                if output.isClosed { throw CancellationError() }
            }
            return .done
        }
        // Collected first: half a manifest must not stand where a whole one is expected.
        let target = context.path(output)
        let file = ManifestFile(target)
        do {
            try await journey.manifest(snapshot, root: root, form: form) { try file.append($0) }
        } catch {
            try await file.end { $0.discard() }
            throw error
        }
        try await file.end { try $0.commit() }
        return .done
    }

    private func form(_ context: CommandContext) async throws -> InspectionJourney.ManifestForm {
        switch format {
        case .json: return .json
        case .sha256sum: return .sha256sum
        case .modelSigning:
            let keyFile = context.path(sign ?? "")
            let signer = try await BlockingBridge.offload(name: "becalm-key") {
                Result {
                    let pem = try SystemFiles.read(keyFile, what: "the signing key")
                    let passphrase = try Credentials(context: context).passphrase("BECALM_SIGN_PASSWORD")
                    return try ManifestSigner(pem: pem, passphrase: passphrase, file: PathText.display(keyFile))
                }
            }
            return .modelSigning(
                signer, followsLinks: followSymlinks, ignoring: ignore.map { context.bytes(of: $0) })
        }
    }
}
