package import TensorFiles

/// How closely a survey looks.
package enum SurveyDepth: String, Hashable, Sendable {
    /// Names, sizes, headers, directories, pickles: what loaders look at. Reads a small part of the data.
    case structure
    /// Also content, where the format records a checksum of it. Reads all of it.
    case deep
}

/// What a survey may take, and what it is told.
package struct SurveyOptions: Sendable {
    package var depth: SurveyDepth = .structure
    /// What a file may ask of its parser.
    package var files = TensorFileLimits()
    /// Entries of a directory that are looked at, some 150 bytes each; of a larger one only the first that come, and
    /// what it holds is `unknown` at best.
    package var directoryEntries = 100_000
    /// Directories inside directories; what lies deeper is not looked at.
    package var depthOfTree = 256
    /// Findings remembered for the judgement of runs, some 200 bytes each.
    package var remembered = 10_000
    /// The hash functions; without them content whose digest is recorded is not checked, and a note says so.
    package var hasher: HasherFactory?
    /// Opens Zstandard frames; without it what lies behind one is `unknown`.
    package var zstd: ZstdOpener?
    /// Told the bytes read since the last call, now and then, and 0 at each directory. What it throws ends the survey.
    package var progress: @Sendable (Int) throws -> Void = { _ in }

    /// The defaults.
    package init() {}
}
