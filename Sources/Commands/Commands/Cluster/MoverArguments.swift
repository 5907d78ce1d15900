package import ArgumentParser
internal import Basics
internal import Orchestration

/// How the pods are made that read and write volumes, as options.
package struct MoverArguments: ParsableArguments, Sendable {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "With a workload: the image of the pods that move its data, which has becalm in it. Default: BECALM_MOVER_IMAGE.",
            valueName: "image"))
    package var moverImage: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            With a workload: a file with settings of these pods, in YAML: image, imagePullSecrets, serviceAccount, \
            nodeSelector, tolerations, resources, priorityClass, labels, annotations, user, deadlineSeconds, ...
            """, valueName: "file"),
        completion: .file())
    package var moverSettings: String?

    @Option(name: .long, help: ArgumentHelp("With a workload: such pods at once.", valueName: "number"))
    package var movers = 8

    package init() {}

    package mutating func validate() throws {
        guard (1...256).contains(movers) else { throw ValidationError("'--movers' takes a number from 1 to 256.") }
    }

    /// The settings: those of the file, and the image that is named beside it.
    func settings(_ context: CommandContext) async throws -> MoverSettings {
        var settings = MoverSettings()
        if let moverSettings {
            let path = context.path(moverSettings)
            let text = try await BlockingBridge.offload(name: "becalm-files") {
                Result { try SystemFiles.read(path, what: "the settings of movers") }
            }
            settings = try MoverSettings(parsing: text, source: moverSettings)
        }
        if let image = moverImage ?? (settings.image.isEmpty ? context.variable("BECALM_MOVER_IMAGE") : nil) {
            settings.image = image
        }
        guard !settings.image.isEmpty else {
            throw JourneyError.usage(
                "no image for the pods that move data is named: give one that has becalm in it with --mover-image or BECALM_MOVER_IMAGE"
            )
        }
        return settings
    }
}
