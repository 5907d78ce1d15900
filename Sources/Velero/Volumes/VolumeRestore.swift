internal import Basics
internal import Logging
internal import ObjectStorage
internal import Orchestration
internal import Repository
internal import RepositoryFormat
internal import Snapshots

/// A new volume with what is in a snapshot.
///
/// It is restored and read back under a hidden name in the directory that it will be in, and gets its own when all of it
/// is there. What a killed process has left under such a name goes with the next restore into the same directory.
struct VolumeRestore: Sendable {
    let volumes: DirectoryVolumes
    let snapshot: VolumeSnapshotID
    /// As `info` gave it when the snapshot was taken; empty when nobody knows.
    let type: String

    /// Between a volume's first name and eight hexadecimal digits of its own.
    private static let mark = ".becalm-"
    private static let digits = 8
    /// Bytes of a name at the most (NAME_MAX, limits.h).
    private static let longestName = 255

    private var logger: Logger { volumes.logger }

    /// Makes it and returns its id.
    func run() async throws -> VolumeID {
        let repository = try await volumes.repository.open(for: snapshot)
        let original = try await original(repository)
        let (parent, path) = try await place(of: original)
        let scratch = try await BlockingBridge.offload(name: "becalm-volume") {
            Result { try ScratchDirectory.claim(for: .volume, in: path, isOwn: false, need: nil) }
        }
        do {
            let result = try await restore(repository, to: scratch)
            let name = Self.name(for: original)
            try Task.checkCancellation()
            try await BlockingBridge.offload(name: "becalm-volume") {
                Result {
                    guard let names = SystemFiles.names(in: scratch.path), let only = names.first, names.count == 1
                    else {
                        throw VeleroError(.failed, "the snapshot \(snapshot.snapshot) holds no single directory")
                    }
                    try scratch.publish(only, as: Array(name.utf8))
                }
            }
            let volume = VolumeID(kind: original.kind, server: parent.server, path: parent.path.appending(name))
            tell(result, volume)
            // It is whole and has its name: what is left of its making costs nothing.
            if let left = try await Self.remove(scratch) { logger.warning("\(left)") }
            return volume
        } catch {
            guard let left = try await Self.remove(scratch) else { throw explained(error, parent) }
            let error = VeleroError(explained(error, parent), doing: "cannot restore")
            throw VeleroError(error.code, "\(error.message); and \(left)", cause: error)
        }
    }

    /// The volume that the snapshot is of.
    private func original(_ repository: Repository) async throws -> VolumeID {
        let listed: ListedSnapshot
        do {
            listed = try await repository.loadSnapshot(snapshot.snapshot)
        } catch {
            guard error.isMissingObject else { throw error }
            throw VeleroError(
                .notFound,
                "there is no snapshot \(snapshot.snapshot) in \(repository.store.location) any more: it was forgotten",
                cause: error)
        }
        let manifest = try listed.manifest(to: "restore")
        let tag = manifest.tags.first { $0.hasPrefix(VolumeBackup.volumeTag) }
        guard let tag, let volume = VolumeID(String(tag.dropFirst(VolumeBackup.volumeTag.count))) else {
            throw VeleroError(
                .invalidArgument,
                "the snapshot \(snapshot.snapshot) was not made by becalm.io/volumes: use 'becalm restore'")
        }
        guard type.isEmpty || type == volume.kind.volumeType else {
            throw VeleroError(
                .invalidArgument,
                "the snapshot \(snapshot.snapshot) is of a volume of the type \(volume.kind.volumeType), not \(PathText.display(Array(type.utf8)))"
            )
        }
        return volume
    }

    /// The directory for the new volume: as PersistentVolumes say it, and here. A restore root of the same node or server;
    /// for NFS, of any; else beside the original.
    private func place(of original: VolumeID) async throws -> (VolumeID, [UInt8]) {
        let space = VolumeRoots.Space(original)
        let candidates = volumes.configuration.restoreRoots.filter { ($0.space == .node) == (space == .node) }
        var parent = original
        var source = "the directory beside the original"
        if let root = candidates.first(where: { $0.space == space }) ?? candidates.first {
            (parent.server, parent.path) = (root.server, root.path)
            source = "the restore root"
        } else {
            parent.path = original.path.parent
        }
        switch try await volumes.look(parent) {
        case .directory(let directory) where !original.path.components.isEmpty || !candidates.isEmpty:
            return (parent, directory.path)
        case .other, .missing:
            throw VeleroError(
                .notFound,
                "\(source) \(parent.place) is no directory of this pod: make or mount it, or name another in restoreRoots"
            )
        case .directory, .outside:
            throw VeleroError(
                .invalidArgument,
                "\(source) \(parent.place) is below none of the configured roots: name one in restoreRoots")
        }
    }

    private func restore(_ repository: Repository, to scratch: ScratchDirectory) async throws -> RestoreResult {
        let request = RestoreRequest(snapshot: snapshot.snapshot, target: scratch.path, verify: true)
        let progress = OperationProgress()
        let result = try await volumes.cancellable(progress) {
            try await RestoreJourney(repository: repository, request: request, progress: progress).run()
        }
        if let first = result.damaged.first ?? result.failed.first {
            let count = result.damaged.count + result.failed.count
            let what = result.damaged.isEmpty ? "could not be written" : "is damaged in the repository"
            throw VeleroError(
                .failed,
                "\(counted(count, "entry", plural: "entries")) of the snapshot \(snapshot.snapshot) \(what), and no volume is made: \(PathText.about(first.path, first.message)); 'becalm restore' brings back the rest"
            )
        }
        return result
    }

    private func tell(_ result: RestoreResult, _ volume: VolumeID) {
        for state in result.setAside {
            logger.warning(
                "the torn checkpoint \(state.path) of \(volume.place) is called \(state.newPath) now: \(state.reasons.first ?? "")"
            )
        }
        if let first = result.remarks.first {
            logger.warning(
                "\(counted(result.remarks.count, "entry", plural: "entries")) of \(volume.place) could not be made as they were: \(PathText.about(first.path, first.message)); let Velero's server run as root"
            )
        }
        logger.info(
            "restored \(snapshot.snapshot) to \(volume.place): \(result.files) files, \(result.bytesWritten) bytes, read back and compared"
        )
    }

    /// A full disk in the words of who sees it.
    private func explained(_ error: any Error, _ parent: VolumeID) -> any Error {
        let journey = JourneyError(error)
        guard !(error is VeleroError), journey.status == .noSpace else { return error }
        return VeleroError(
            .failed,
            "the disk that \(parent.place) is on is full, and nothing was left on it: free some space, or name another place in restoreRoots, and restore again",
            cause: error)
    }

    /// Removes what is left of a restore, and answers why something is still there. Not cut short by a cancelled task.
    private static func remove(_ scratch: ScratchDirectory) async throws -> String? {
        try await BlockingBridge.offload(name: "becalm-volume") {
            do throws(JourneyError) { try scratch.remove() } catch { return .success(error.message) }
            return .success(nil)
        }
    }

    /// A name that says where it comes from and is nobody else's: `data.becalm-1f2e3d4c`.
    private static func name(for original: VolumeID) -> String {
        var name = original.path.components.last ?? "volume"
        // A restored volume that is restored anew does not grow a second one.
        if let mark = name.ranges(of: mark).last, name[mark.upperBound...].utf8.count == digits,
            name[mark.upperBound...].allSatisfy(\.isHexDigit), mark.lowerBound > name.startIndex
        {
            name = String(name[..<mark.lowerBound])
        }
        while name.utf8.count > longestName - mark.utf8.count - digits { name.removeLast() }
        let number = UInt32.random(in: .min ... .max)
        let text = String(number, radix: 16)
        return name + mark + String(repeating: "0", count: digits - text.count) + text
    }
}
