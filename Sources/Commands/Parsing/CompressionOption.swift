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

    package static var allValueStrings: [String] { ["off", "auto", "1", "3", "9", "19"] }
}
