internal import Basics
internal import Kubernetes
internal import Repository
internal import RepositoryFormat
internal import Snapshots
internal import SystemPackage

/// The objects of a workload as files of a snapshot.
struct ObjectFiles: Sendable {
    let repository: Repository
    /// An existing directory for what is on its way, raw.
    let scratch: [UInt8]

    /// Stores files as a snapshot of their own, a part of the one to come. Cancellation stops it.
    func store(
        _ files: [WorkloadCapture.File], host: String, user: String, tags: [String]
    ) async throws -> Identifier {
        try await inScratch { place in
            try await BlockingBridge.offload(name: "becalm-objects") {
                Result {
                    for file in files {
                        let path = SystemFiles.filePath(place).appending(file.path.joined(separator: "/"))
                        try SystemFiles.makeDirectories(path.removingLastComponent())
                        try SystemFiles.write(file.content, to: Array(path.string.utf8), isSecret: true)
                    }
                }
            }
            let slash = UInt8(ascii: "/")
            let roots = Set(files.compactMap(\.path.first)).sorted().map { place + [slash] + Array($0.utf8) }
            let request = BackupRequest(
                paths: roots, host: host, user: user, tags: tags, bases: .none, program: Version.program)
            let progress = OperationProgress()
            return try await withTaskCancellationHandler {
                try await BackupJourney(repository: repository, request: request, progress: progress).run().snapshot
            } onCancel: {
                progress.cancel()
            }
        }
    }

    /// The files below one of `roots` (names in the snapshot's root). Throws `.integrity` when one does not come back.
    func load(_ snapshot: Identifier, roots: [String]) async throws -> [WorkloadCapture.File] {
        try await inScratch { place in
            let request = RestoreRequest(
                snapshot: snapshot, target: place, includes: roots.flatMap { ["/\($0)"] }, verify: false)
            let progress = OperationProgress()
            let result = try await withTaskCancellationHandler {
                try await RestoreJourney(repository: repository, request: request, progress: progress).run()
            } onCancel: {
                progress.cancel()
            }
            if let first = result.damaged.first ?? result.failed.first {
                throw JourneyError(
                    .integrity, kind: "damaged",
                    "the objects in snapshot \(snapshot) do not come back: \(PathText.about(first.path, first.message))")
            }
            return try await BlockingBridge.offload(name: "becalm-objects") {
                Result { try Self.read(place, []) }
            }
        }
    }

    /// Objects and bytes that are read at most: no workload has more, and a snapshot is not to fill the memory.
    private static let mostFiles = 10_000
    private static let mostBytes = 4 << 20

    private static func read(_ place: [UInt8], _ path: [String]) throws(JourneyError) -> [WorkloadCapture.File] {
        var files: [WorkloadCapture.File] = []
        let directory = place + Array(path.map { "/\($0)" }.joined().utf8)
        for name in SystemFiles.names(in: directory) ?? [] {
            let below = path + [String(decoding: name, as: UTF8.self)]
            if SystemFiles.names(in: directory + [UInt8(ascii: "/")] + name) != nil {
                files += try read(place, below)
            } else {
                let content = try SystemFiles.read(
                    directory + [UInt8(ascii: "/")] + name, what: "an object of the snapshot",
                    maximumBytes: mostBytes)
                files.append(WorkloadCapture.File(path: below, content: content))
            }
            guard files.count <= mostFiles else {
                throw JourneyError(
                    .failed, kind: "too_many_objects", "the snapshot holds more than \(mostFiles) objects of a cluster")
            }
        }
        return files
    }

    private func inScratch<R: Sendable>(_ body: (_ place: [UInt8]) async throws -> R) async throws -> R {
        let scratch = scratch
        let directory = try await BlockingBridge.offload(name: "becalm-objects") {
            Result { try ScratchDirectory.claim(for: .objects, in: scratch, isOwn: false, need: nil) }
        }
        let outcome: Result<R, any Error>
        do { outcome = .success(try await body(directory.path)) } catch { outcome = .failure(error) }
        // What cannot be removed now goes with the next run: the marker says what it is.
        try await BlockingBridge.offload(name: "becalm-objects") { Result { try directory.remove() } }
        return try outcome.get()
    }
}
