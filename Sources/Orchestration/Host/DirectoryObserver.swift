internal import Basics
internal import Snapshots
package import Workloads

/// Sees the checkpoints in directories of this machine.
package struct DirectoryObserver: CheckpointObserver {
    private let paths: [[UInt8]]

    /// Seconds between looks at least; they rest for as long as they took, too.
    private static let pauseSeconds = 0.5

    /// Raw absolute paths.
    package init(_ paths: [[UInt8]]) { self.paths = paths }

    package func newest() async throws -> SeenCheckpoint? {
        var newest: SeenCheckpoint?
        for path in paths {
            guard var seen = try await CheckpointLook(path).newest(),
                seen.modified > newest?.modified ?? Timestamp(nanoseconds: .min)
            else { continue }
            seen.claim = PathText.display(path)
            newest = seen
        }
        return newest
    }

    package func newer(than old: SeenCheckpoint?, seconds: Double) async throws -> SeenCheckpoint {
        let clock = ContinuousClock()
        let end = clock.now.advanced(by: .seconds(seconds))
        while true {
            let began = clock.now
            let seen = try await newest()
            if let seen, old.map({ seen.modified > $0.modified }) ?? true { return seen }
            let rest = max(Duration.seconds(Self.pauseSeconds), began.duration(to: clock.now))
            guard clock.now.advanced(by: rest) < end else {
                let there = seen.map {
                    "; the newest is \($0.claim)/\($0.path)" + ($0.step.map { ", step \($0)" } ?? "")
                }
                throw QuiesceError(
                    .checkpoint,
                    "no complete checkpoint was written within \(Int(seconds)) s of being asked for\(there ?? "; there is none at all")"
                )
            }
            try await Task.sleep(for: rest)
        }
    }
}
