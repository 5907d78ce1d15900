package import ArgumentParser
internal import Basics
package import Orchestration
internal import Snapshots

/// `becalm key generate`
package struct KeyGenerateCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Make a private key for '--identity', and print its public half.",
        discussion: """
            The file is readable by its owner alone and replaces none. The public key may be known to everybody: \
            whoever has a key of the role 'full' gives it a slot with 'becalm key add --recipient'.

            EXAMPLE:
              $ becalm key generate ~/.becalm-identity
            """)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: "The file to write.", completion: .file())
    package var file: String

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let path = context.path(file)
        let text = try await BlockingBridge.offload(name: "becalm-key") {
            Result {
                let identity = try IdentityText.generate()
                try SystemFiles.write(identity.file, to: path, isSecret: true)
                return identity.publicKey
            }
        }
        context.output.summary([.init("public_key", .string(text))], text: text)
        return .done
    }
}
