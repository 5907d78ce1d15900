package import Basics
internal import Kubernetes
internal import ObjectStorage
internal import Repository
internal import RepositoryFormat
internal import Sealing
internal import Snapshots
internal import Workloads

/// Why a journey ended: what `becalm` tells the user, and the number it exits with. Every error of the layers below
/// becomes one here, and nowhere else.
package struct JourneyError: Error, Sendable, CustomStringConvertible {
    package var status: ExitStatus
    /// One word for programs, in snake case: `wrong_key`. More kinds than numbers.
    package var kind: String
    /// One line: what happened, to what, what to do.
    package var message: String
    package var cause: (any Error)?
    package var location: SourceLocation

    package init(
        _ status: ExitStatus, kind: String, _ message: String, cause: (any Error)? = nil, fileID: String = #fileID,
        line: UInt32 = #line
    ) {
        self.status = status
        self.kind = kind
        self.message = message
        self.cause = cause
        location = SourceLocation(fileID: fileID, line: line)
    }

    /// The command line makes no sense.
    package static func usage(_ message: String, fileID: String = #fileID, line: UInt32 = #line) -> JourneyError {
        JourneyError(.usage, kind: "invalid_argument", message, fileID: fileID, line: line)
    }

    package var description: String { message }

    /// The user's view of an error from any layer below.
    package init(_ error: any Error, fileID: String = #fileID, line: UInt32 = #line) {
        let (status, kind, message): (ExitStatus, String, String)
        switch error {
        case let error as JourneyError:
            self = error
            return
        case let error as RepositoryError:
            (status, kind) = Self.verdict(error)
            message = error.message
        case let error as ObjectStorageError:
            (status, kind) = Self.verdict(error.code)
            message = error.message
        case let error as SnapshotError:
            (status, kind) = Self.verdict(error.code)
            message = error.message
        case let error as IncompleteState:
            (status, kind, message) = (.checkpointTorn, "checkpoint_incomplete", "no snapshot is made: \(error)")
        case let error as FormatError:
            (status, kind) = Self.verdict(RepositoryError(error))
            message = error.message
        case let error as SealingError:
            (status, kind) = error.code == .invalidKey ? (.usage, "invalid_key") : (.failed, "cryptography_failed")
            message = error.message
        case let error as KubernetesError:
            (status, kind) = Self.verdict(error.code)
            message = error.message
        case let error as QuiesceError:
            (status, kind) = Self.verdict(error.code)
            message = error.message
        case let error as WorkloadError: (status, kind, message) = (.failed, "workload", error.message)
        case is CancellationError: (status, kind, message) = (.interrupted, "cancelled", "cancelled")
        default: (status, kind, message) = (.failed, "failed", "\(error)")
        }
        self.init(status, kind: kind, message, cause: error, fileID: fileID, line: line)
    }

    private static func verdict(_ error: RepositoryError) -> (ExitStatus, String) {
        switch error.code {
        case .noRepository: (.noRepository, "no_repository")
        case .alreadyExists: (.failed, "already_exists")
        case .busy: (.busy, "busy")
        case .wrongKey: (.wrongKey, "wrong_key")
        case .notPermitted: (.failed, "not_permitted")
        case .damaged: (.integrity, "damaged")
        case .newerVersion: (.failed, "newer_version")
        case .storage: (error.cause as? ObjectStorageError).map { verdict($0.code) } ?? (.failed, "storage_failed")
        case .collectedMeanwhile: (.busy, "collected_meanwhile")
        case .notFound: (.integrity, "chunk_missing")
        case .noSuchName: (.usage, "not_found")
        case .ambiguous: (.usage, "ambiguous")
        case .invalidArgument: (.usage, "invalid_argument")
        case .cancelled: (.interrupted, "cancelled")
        default:
            // A layer between may have wrapped what has a number of its own.
            switch error.cause {
            case let cause as ObjectStorageError: verdict(cause.code)
            case let cause as SnapshotError: verdict(cause.code)
            default: (.failed, "failed")
            }
        }
    }

    private static func verdict(_ code: ObjectStorageError.Code) -> (ExitStatus, String) {
        switch code {
        // What the repository's code did not expect to be missing.
        case .notFound: (.integrity, "object_missing")
        case .corrupted: (.integrity, "corrupted")
        case .accessDenied: (.credentialsRefused, "access_denied")
        case .expiredCredentials: (.credentialsRefused, "expired_credentials")
        case .unreachable: (.storageUnreachable, "unreachable")
        case .timedOut: (.storageUnreachable, "timed_out")
        case .unavailable: (.storageUnreachable, "unavailable")
        case .throttled: (.storageUnreachable, "throttled")
        case .noSuchBucket: (.noRepository, "no_such_bucket")
        case .noSpace: (.noSpace, "no_space")
        case .conflict, .preconditionFailed: (.busy, "conflict")
        case .unsupported: (.failed, "unsupported")
        case .invalidArgument: (.usage, "invalid_argument")
        case .locked: (.failed, "locked")
        case .tooLarge: (.integrity, "too_large")
        case .cancelled: (.interrupted, "cancelled")
        default: (.failed, "storage_failed")
        }
    }

    private static func verdict(_ code: SnapshotError.Code) -> (ExitStatus, String) {
        switch code {
        case .noSpace: (.noSpace, "no_space")
        case .damaged: (.integrity, "damaged")
        case .checkpointTorn: (.checkpointTorn, "checkpoint_torn")
        case .cancelled: (.interrupted, "cancelled")
        case .invalidArgument: (.usage, "invalid_argument")
        case .sourceMissing: (.failed, "source_missing")
        case .sourceUnreadable: (.failed, "source_unreadable")
        case .permissionDenied: (.failed, "permission_denied")
        case .targetNotEmpty, .alreadyExists: (.failed, "target_exists")
        default: (.failed, "failed")
        }
    }

    private static func verdict(_ code: KubernetesError.Code) -> (ExitStatus, String) {
        switch code {
        case .configuration: (.usage, "cluster_configuration")
        case .invalid: (.failed, "cluster_refused")
        case .conflict: (.busy, "conflict")
        case .cancelled: (.interrupted, "cancelled")
        default: (.failed, "cluster_\(code)")
        }
    }

    private static func verdict(_ code: QuiesceError.Code) -> (ExitStatus, String) {
        switch code {
        case .busy: (.busy, "held")
        case .lost: (.busy, "journal_lost")
        case .notInTime: (.notQuiesced, "not_quiesced")
        case .disturbed: (.notQuiesced, "disturbed")
        case .notServing: (.notQuiesced, "not_serving")
        case .notServed: (.notQuiesced, "not_served")
        case .checkpoint: (.checkpointTorn, "no_checkpoint")
        case .refused: (.failed, "refused")
        case .notResumed: (.failed, "not_resumed")
        }
    }

    /// Runs `body`, whose errors become this one.
    package static func mapping<R>(_ body: () async throws -> R) async throws(JourneyError) -> R {
        do { return try await body() } catch { throw JourneyError(error) }
    }
}
