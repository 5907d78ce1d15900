internal import ArgumentParser
package import Repository

/// How to compress, as the command line spells it: `off`, `auto`, or a level of zstd.
package struct CompressionOption: Hashable, Sendable, ExpressibleByArgument {
    package var mode: RepositoryOptions.CompressionMode

    package init?(argument: String) {
        switch argument.lowercased() {
        case "off": mode = .off
        case "auto": mode = .zstd(level: 1)
        default:
            // Levels of zstd (zstd.h); those above 19 would not fit the memory that workers have.
            guard let level = Int32(argument), (1...19).contains(level) else { return nil }
            mode = .zstd(level: level)
        }
    }

    /// As the option is parsed: what is wrong is told in words, for the levels are too many to list.
    static func parse(_ argument: String) throws -> CompressionOption {
        guard let option = CompressionOption(argument: argument) else {
            throw ValidationError("it takes off, auto, or a level of zstd from 1 to 19.")
        }
        return option
    }
}
