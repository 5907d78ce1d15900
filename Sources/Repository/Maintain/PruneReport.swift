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
    /// Condemned packs that still wait.
    package var packsWaiting: UInt64 = 0
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
