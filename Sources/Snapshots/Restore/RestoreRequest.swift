package import RepositoryFormat

/// What to restore, where, and what to do with what is there.
package struct RestoreRequest: Sendable {
    /// What to do where something is in the way.
    package enum Overwrite: String, Sendable, CaseIterable {
        /// Write everything anew.
        case always
        /// Read what is there and write only what differs.
        case ifChanged = "if-changed"
        /// Leave what is there.
        case never
    }

    package var snapshot: Identifier
    /// A directory of the snapshot, as components: what is in it comes into the target itself, as if it were the snapshot's
    /// root, from which patterns and the result's paths count then. Empty for the root.
    package var from: [[UInt8]]
    /// The directory to restore into, raw bytes; made when it is missing. Or a block device, or a file that stands for one, onto
    /// which the file at `from` is written, or where that is empty the only device at the snapshot's root.
    package var target: [UInt8]
    /// Shell patterns (`GlobPattern`); empty for everything. With `checkpoint`, they choose among checkpoints.
    package var includes: [String]
    /// Restore this checkpoint and what it needs, and nothing else.
    package var checkpoint: CheckpointChoice?
    /// Nil refuses to touch anything that exists.
    package var overwrite: Overwrite?
    /// Whether to go on with an interrupted restore to the same target.
    package var resume: Bool
    /// Whether to read every file back and compare its SHA-256.
    package var verify: Bool
    /// Whether owners are set by id only, not by name.
    package var numericOwners: Bool
    /// Whether torn checkpoints get names under which their frameworks do not pick them.
    package var setsAside: Bool
    /// Whether commit markers are written for states of which something is damaged, too.
    package var commitsDamaged: Bool
    /// Whether a device is written to although it is mounted or something else holds it.
    package var writesInUse: Bool

    package init(
        snapshot: Identifier, from: [[UInt8]] = [], target: [UInt8], includes: [String] = [],
        checkpoint: CheckpointChoice? = nil, overwrite: Overwrite? = nil, resume: Bool = false,
        verify: Bool = false, numericOwners: Bool = false, setsAside: Bool = true, commitsDamaged: Bool = false,
        writesInUse: Bool = false
    ) {
        self.snapshot = snapshot
        self.from = from
        self.target = target
        self.includes = includes
        self.checkpoint = checkpoint
        self.overwrite = overwrite
        self.resume = resume
        self.verify = verify
        self.numericOwners = numericOwners
        self.setsAside = setsAside
        self.commitsDamaged = commitsDamaged
        self.writesInUse = writesInUse
    }
}

/// How a restore went.
package struct RestoreResult: Sendable {
    /// Something that was restored but not wholly as it was, or not at all.
    package struct Note: Hashable, Sendable {
        /// As text; bytes that are not UTF-8 are escaped.
        package var path: String
        package var message: String
        /// Of a damaged file: the bytes that could not be had, in order, neighbours joined, at most `mostLost` of them.
        /// Empty where nothing is known of single bytes.
        package var lost: [Range<UInt64>]

        /// Ranges of a file that are kept.
        package static let mostLost = 1000

        package init(path: String, message: String, lost: [Range<UInt64>] = []) {
            self.path = path
            self.message = message
            self.lost = lost
        }
    }

    /// A torn state that was restored under another name.
    package struct SetAside: Hashable, Sendable {
        /// Below the target, as text: where it would be by its own name.
        package var path: String
        /// Where it is.
        package var newPath: String
        /// Why it counts as torn, one line each.
        package var reasons: [String]

        package init(path: String, newPath: String, reasons: [String]) {
            self.path = path
            self.newPath = newPath
            self.reasons = reasons
        }
    }

    package var snapshot: Identifier
    /// The checkpoint that was asked for, by its path in the snapshot, below `from`, as text; nil when none was.
    package var checkpoint: String?
    /// Of the whole snapshot, or of the directory `from` in it, when that was restored whole and as it was stored; nil with
    /// patterns, with something set aside and without file digests.
    package var contentDigest: String?
    /// Entries restored or found right, directories not counted.
    package var files: UInt64 = 0
    /// Bytes of content written.
    package var bytesWritten: UInt64 = 0
    /// Entries left as they were because something was in the way.
    package var skipped: UInt64 = 0
    package var durationSeconds: Double = 0
    /// Files that were read back and compared; nil when that was not asked for.
    package var verified: UInt64?
    /// How much of `durationSeconds` reading back took.
    package var verifySeconds: Double = 0
    /// Patterns that nothing in the snapshot fits.
    package var unmatched: [String] = []
    /// Whether there were patterns, and nothing in the snapshot fits any of them.
    package var fitsNothing = false
    /// Torn states that have other names now.
    package var setAside: [SetAside] = []
    /// Attributes that could not be set, and what else is worth knowing.
    package var remarks: [Note] = []
    /// Entries whose content is damaged in the repository: integrity.
    package var damaged: [Note] = []
    /// Entries that could not be written, or differ when read back; states that were left without their commit markers
    /// because of such, or of damage.
    package var failed: [Note] = []

    package init(snapshot: Identifier) { self.snapshot = snapshot }
}
