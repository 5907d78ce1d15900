package import Basics

/// What a collection found and did; after a dry run, what it would do now.
package struct PruneReport: Hashable, Sendable {
    /// Something that a person should look at.
    package struct Finding: Hashable, Sendable {
        /// The object's name.
        package var object: String
        package var message: String

        package init(object: String, message: String) {
            self.object = object
            self.message = message
        }
    }

    package var isDryRun = false
    /// Snapshots that were walked.
    package var snapshots: UInt64 = 0
    /// All packs of the store and their bytes, before anything was done.
    package var packsTotal: UInt64 = 0
    package var bytesTotal: UInt64 = 0
    /// Bytes of packs that nothing refers to, estimated by the chunks' lengths; without packs that are condemned.
    package var unusedBytes: UInt64 = 0
    /// Packs given up in this run, to be removed when the grace period has passed.
    package var packsCondemned: UInt64 = 0
    package var bytesCondemned: UInt64 = 0
    /// When the first of them may be removed, by the store's clock; nil when there are none, or it has happened already.
    package var condemnedUntil: Timestamp?
    /// Condemned packs that still wait, and when the first of them may be removed.
    package var packsWaiting: UInt64 = 0
    package var waitingUntil: Timestamp?
    /// Packs that are unused, or used little, and stay because they are younger than the grace period; and when the first
    /// of them is old enough.
    package var packsYoung: UInt64 = 0
    package var youngUntil: Timestamp?
    /// Such packs that stay because they belong to a session that is at work.
    package var packsAtWork: UInt64 = 0
    /// Packs that are used little and stay because little enough is unused altogether.
    package var packsTolerated: UInt64 = 0
    /// Packs that are used little and stay for a later run, because this one has written enough anew.
    package var packsPostponed: UInt64 = 0
    /// Packs removed, and their bytes.
    package var packsDeleted: UInt64 = 0
    package var freedBytes: UInt64 = 0
    /// Condemned packs that the store keeps under retention.
    package var packsRetained: UInt64 = 0
    /// Packs whose live chunks were written anew so that they could be condemned, and the bytes of those chunks.
    package var packsRepacked: UInt64 = 0
    package var bytesRepacked: UInt64 = 0
    /// Chunks that were in condemned packs only and were copied out.
    package var chunksRescued: UInt64 = 0
    package var bytesRescued: UInt64 = 0
    /// Index segments removed and written.
    package var segmentsRemoved: UInt64 = 0
    package var segmentsWritten: UInt64 = 0
    /// What interrupted runs left behind: session objects and journals.
    package var leftoversRemoved: UInt64 = 0
    package var findings: [Finding] = []

    package init() {}
}
