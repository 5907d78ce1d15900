package import RepositoryFormat

/// How thoroughly to check.
package enum VerifyDepth: Int, Sendable, Comparable, CaseIterable {
    /// Listings and bookkeeping: every object that should be there is, with the right size; snapshots open; chains hold.
    case quick = 0
    /// And every directory is read, every chunk that it names is in the index, in a pack that is there.
    case index = 1
    /// And every pack is read, opened and hashed.
    case full = 2

    package static func < (left: VerifyDepth, right: VerifyDepth) -> Bool { left.rawValue < right.rawValue }
}

/// How to check a repository.
package struct VerifyOptions: Sendable {
    package var depth: VerifyDepth
    /// Only what this snapshot needs; nil for all.
    package var snapshot: Identifier?
    /// Seconds after which no further pack is read; nil for no end. The packs read longest ago come first.
    package var budgetSeconds: Double?
    /// Paths named with one problem at the most; all are counted.
    package var maximumFiles: Int
    /// Makes text for people of a path's raw bytes.
    package var displayPath: @Sendable ([UInt8]) -> String

    package init(
        depth: VerifyDepth, snapshot: Identifier? = nil, budgetSeconds: Double? = nil, maximumFiles: Int = 1000,
        displayPath: @escaping @Sendable ([UInt8]) -> String
    ) {
        self.depth = depth
        self.snapshot = snapshot
        self.budgetSeconds = budgetSeconds
        self.maximumFiles = maximumFiles
        self.displayPath = displayPath
    }
}

/// Something that is not as it should be.
package struct VerifyProblem: Hashable, Sendable {
    /// What kind of object has it.
    package enum Kind: String, Sendable {
        case config, keys, pack, segment, snapshot, condemned, forgotten, journal, other
    }

    /// The object's name.
    package var object: String
    package var kind: Kind
    /// One line: what is wrong, and what to do.
    package var message: String
    /// Snapshots that it hits, oldest first.
    package var snapshots: [Identifier] = []
    /// Files that cannot be restored, as text; directories that cannot be read end in `/`. Bounded.
    package var files: [String] = []
    /// How many there are in truth.
    package var fileCount: UInt64 = 0
    /// Whether nothing that snapshots need is hit: something left over, in the way, or at work, or a damage that another
    /// copy makes up for.
    package var isHarmless = false

    package init(object: String, kind: Kind, message: String, isHarmless: Bool = false) {
        self.object = object
        self.kind = kind
        self.message = message
        self.isHarmless = isHarmless
    }
}

/// What a check found.
package struct VerifyReport: Sendable {
    package var depth: VerifyDepth
    /// Sorted by object.
    package var problems: [VerifyProblem] = []
    package var snapshots: UInt64 = 0
    /// Packs in the store.
    package var packs: UInt64 = 0
    package var packBytes: UInt64 = 0
    /// Tree chunks walked and data chunks that they refer to.
    package var treeChunks: UInt64 = 0
    package var dataChunks: UInt64 = 0
    /// Packs that were to be read and that were; fewer when the budget ran out.
    package var packsToRead: UInt64 = 0
    package var packsRead: UInt64 = 0
    package var bytesRead: UInt64 = 0
    package var chunksRead: UInt64 = 0

    package init(depth: VerifyDepth) { self.depth = depth }

    /// Whether all that the depth asks for was looked at.
    package var isComplete: Bool { packsRead == packsToRead }
    /// Whether everything that was looked at can be restored.
    package var isSound: Bool { problems.allSatisfy(\.isHarmless) }
}
