package import ArgumentParser
internal import Logging
internal import Orchestration

/// What every command that works on a repository understands.
package struct GlobalOptions: ParsableArguments, Sendable {
    @Option(
        name: [.short, .long],
        help: ArgumentHelp(
            "Where the repository is: a directory, or s3://BUCKET/PREFIX. Default: BECALM_REPOSITORY.",
            valueName: "place"),
        completion: .directory)
    package var repository: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            Read the password from a file, whose last newline does not count. Otherwise BECALM_PASSWORD, the file \
            BECALM_PASSWORD_FILE, or what the command BECALM_PASSWORD_COMMAND prints; else it is asked for.
            """, valueName: "file"),
        completion: .file())
    package var passwordFile: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Open the repository with a key file instead of a password.", valueName: "file"),
        completion: .file())
    package var keyFile: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Open the repository with a private key made by 'becalm key generate'.", valueName: "file"),
        completion: .file())
    package var identity: String?

    @Flag(name: .long, help: "Answer with one JSON object a line, the last of type 'summary'.")
    package var json = false

    @Flag(name: [.short, .long], help: "Show no progress and no warnings.")
    package var quiet = false

    @Flag(name: [.short, .long], help: "Say more on standard error; twice for every request to the store.")
    package var verbose: Int

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            Memory for all buffers together: 256M, 1GiB. Default: a quarter of what there is, at most 256 MiB on two \
            processors and 1 GiB on many.
            """, valueName: "size"))
    package var memory: ByteCount?

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            Where copies of the index are kept between runs; 'none' for nowhere. Default: BECALM_CACHE_DIR, or becalm \
            in XDG_CACHE_HOME or ~/.cache.
            """, valueName: "directory"),
        completion: .directory)
    package var cacheDir: String?

    @Option(name: .long, help: ArgumentHelp("Requests to the store at once.", valueName: "number"))
    package var connections: Int = 8

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How new data is compressed: off, auto, or a level of zstd from 1 to 19.", valueName: "off|auto|level"),
        completion: .list(["off", "auto", "1", "3", "9", "19"]), transform: CompressionOption.parse)
    package var compression: CompressionOption?

    @Option(name: .long, help: ArgumentHelp("Bytes a second sent to the store at most: 10M.", valueName: "rate"))
    package var limitUpload: ByteCount?

    @Option(name: .long, help: ArgumentHelp("Bytes a second read from the store at most.", valueName: "rate"))
    package var limitDownload: ByteCount?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "URL of an S3 server. Default: AWS_ENDPOINT_URL_S3, the profile, or Amazon's.", valueName: "url"))
    package var endpoint: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Region of the bucket. Default: AWS_REGION, the profile, or us-east-1.", valueName: "region")
    )
    package var region: String?

    @Flag(
        name: .long,
        inversion: .prefixedNo,
        help: "Name the bucket in the path of S3 requests, not in the host's name. Default: what suits the endpoint.")
    package var pathStyle: Bool?

    package init() {}

    package mutating func validate() throws {
        let given = [passwordFile, keyFile, identity].compactMap { $0 }
        guard given.count <= 1 else {
            throw ValidationError("Give one of '--password-file', '--key-file' and '--identity'.")
        }
        guard (1...256).contains(connections) else {
            throw ValidationError("'--connections' takes a number from 1 to 256.")
        }
        guard limitUpload.map({ $0.bytes > 0 }) ?? true, limitDownload.map({ $0.bytes > 0 }) ?? true else {
            throw ValidationError("A rate of 0 moves nothing: leave the limit out for none.")
        }
        guard !(quiet && verbose > 0) else { throw ValidationError("Give one of '--quiet' and '--verbose'.") }
    }

    /// What is logged: warnings, or more or less of it.
    var logLevel: Logger.Level {
        if quiet { return .error }
        return verbose == 0 ? .warning : verbose == 1 ? .info : .debug
    }

    func logger(_ console: Console) -> Logger {
        let level = logLevel
        return Logger(label: "becalm") { _ in ConsoleLogHandler(console: console, level: level) }
    }
}
