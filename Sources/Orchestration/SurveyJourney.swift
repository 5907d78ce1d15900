package import Checkpoints
internal import Snapshots

/// Looks for checkpoints, models and caches below a path on this machine, and judges them. Changes nothing.
package struct SurveyJourney: Sendable {
    private let path: [UInt8]
    private let isDeep: Bool

    /// Looks at `path`, a directory or one file, raw and absolute; `isDeep`: at content too, where a checksum of it is
    /// recorded.
    package init(path: [UInt8], isDeep: Bool) {
        self.path = path
        self.isDeep = isDeep
    }

    /// Runs it. `visit` is called on a thread of the journey's own, one call at a time; it may block, and what it throws
    /// ends the survey.
    package func run(visit: @escaping @Sendable (Survey.Event) throws -> Void) async throws(JourneyError) {
        guard let text = String(validating: path, as: UTF8.self) else {
            throw JourneyError(
                .failed, kind: "source_unreadable", "\(PathText.display(path)) is not UTF-8: give the path another name"
            )
        }
        try await JourneyError.mapping {
            try await InspectionJourney.offload(name: "becalm-survey") { check in
                var options = SurveyOptions.standard
                options.depth = isDeep ? .deep : .structure
                options.progress = { _ in try check() }
                try Survey(try Self.tree(at: text), options: options).run(visit)
            }
        }
    }

    private static func tree(at path: String) throws(JourneyError) -> any StateTree {
        do {
            return try LocalTree(path)
        } catch {
            // No directory: a file, if anything.
            let components = path.split(separator: "/")
            if let name = components.last,
                let parent = try? LocalTree("/" + components.dropLast().joined(separator: "/")),
                let entry = try? parent.entry(String(name)), entry.kind != .directory
            {
                return SingleFileTree(parent, file: String(name))
            }
            throw JourneyError(.failed, kind: "source_missing", "cannot look at \(path): \(error)")
        }
    }
}
