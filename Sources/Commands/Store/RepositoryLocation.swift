internal import Orchestration
internal import Snapshots

/// Where a repository is, as a user names it.
package enum RepositoryLocation: Hashable, Sendable {
    /// An absolute path, raw.
    case directory([UInt8])
    /// `s3://bucket/prefix`, as it was written.
    case s3(String)

    /// From `--repository` or `BECALM_REPOSITORY`. Throws a usage error for none and for a scheme that nobody knows.
    init(_ options: GlobalOptions, _ context: CommandContext) throws(JourneyError) {
        guard let text = Self.name(options, context) else {
            throw JourneyError(
                .usage, kind: "no_repository_given",
                "no repository was named: use --repository or BECALM_REPOSITORY with a directory or s3://BUCKET/PREFIX")
        }
        if text.hasPrefix("s3://") {
            self = .s3(text)
        } else if let scheme = Self.scheme(text) {
            throw .usage(
                "'\(scheme):' begins no place that becalm knows: name a directory, as ./\(text) if it is one, or s3://BUCKET/PREFIX"
            )
        } else {
            self = .directory(context.path(text))
            if options.endpoint != nil || options.region != nil || options.pathStyle != nil {
                throw .usage("--endpoint, --region and --path-style are for repositories at s3://BUCKET/PREFIX")
            }
        }
    }

    /// As the user wrote it; nil where none is named.
    static func name(_ options: GlobalOptions, _ context: CommandContext) -> String? {
        let text = options.repository ?? context.variable("BECALM_REPOSITORY") ?? ""
        return text.isEmpty ? nil : text
    }

    /// What stands before the colon of a URL, or of a host's path as ssh writes it; nil for a path.
    private static func scheme(_ text: String) -> Substring? {
        guard let colon = text.firstIndex(of: ":") else { return nil }
        let scheme = text[..<colon]
        let isPlain = scheme.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "+-.@_".contains($0)) }
        return isPlain && scheme.first?.isLetter == true ? scheme : nil
    }

    /// The same place always has the same text.
    var text: String {
        switch self {
        case .directory(let path): PathText.display(path)
        case .s3(let text): text
        }
    }
}
