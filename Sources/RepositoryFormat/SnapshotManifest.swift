package import Basics
internal import FoundationEssentials
package import Sealing

/// What a snapshot says of itself: the body of a snapshot object, as JSON under the session's key.
package struct SnapshotManifest: Codable, Hashable, Sendable {
    /// A source that was left out or could not be read.
    package struct Problem: Codable, Hashable, Sendable {
        /// As text for people; bytes that are not UTF-8 are escaped.
        package var path: String
        package var message: String

        package init(path: String, message: String) {
            self.path = path
            self.message = message
        }
    }

    /// Sums over the snapshot's tree.
    package struct Totals: Codable, Hashable, Sendable {
        /// Entries that are no directories.
        package var files: UInt64 = 0
        package var directories: UInt64 = 0
        /// Bytes of regular files' content, holes included.
        package var bytes: UInt64 = 0

        package init() {}
    }

    /// RFC 3339, UTC, nanoseconds beside it.
    package var time: String
    package var timeNanoseconds: Int64
    package var host: String
    package var user: String
    /// Absolute paths as text.
    package var paths: [String]
    package var tags: [String]
    /// Hexadecimal ids of the root directory's pages.
    package var root: [String]
    /// The Merkle root over paths, metadata and contents; nil when file digests were switched off.
    package var contentDigest: String?
    package var totals: Totals
    /// The snapshot whose tree served for finding unchanged files.
    package var parent: String?
    /// A snapshot that this one replaces because its data may have been collected under it.
    package var supersedes: String?
    package var problems: [Problem]
    /// Checkpoints, models and caches in the tree, as they were judged while they were stored; nil when nobody judged.
    package var inventory: StateInventory?
    /// Which files of the tree it holds; nil for all, as nearly always.
    package var shard: Shard?
    /// How the workload that it is of was brought to a standstill; nil where it is of none.
    package var standstill: WorkloadStandstill?
    /// Seconds the backup took.
    package var durationSeconds: Double
    /// Program and version that wrote it.
    package var program: String

    package init(
        time: Timestamp, host: String, user: String, paths: [String], tags: [String], root: [ChunkID],
        contentDigest: Digest?, totals: Totals, parent: Identifier?, supersedes: Identifier?, problems: [Problem],
        inventory: StateInventory? = nil, shard: Shard? = nil, standstill: WorkloadStandstill? = nil,
        durationSeconds: Double, program: String
    ) {
        self.time = CalendarTime(time).text
        timeNanoseconds = time.nanoseconds
        self.host = host
        self.user = user
        self.paths = paths
        self.tags = tags
        self.root = root.map(\.description)
        self.contentDigest = contentDigest?.description
        self.totals = totals
        self.parent = parent?.description
        self.supersedes = supersedes?.description
        self.problems = problems
        self.inventory = inventory
        self.shard = shard
        self.standstill = standstill
        self.durationSeconds = durationSeconds
        self.program = program
    }

    /// When the backup began.
    package var timestamp: Timestamp { Timestamp(nanoseconds: timeNanoseconds) }

    /// The root directory's pages. Throws `.damaged` when one is no id.
    package func rootPages() throws(FormatError) -> [ChunkID] {
        var pages: [ChunkID] = []
        for text in root {
            guard let digest = Digest(hex: text) else { throw FormatError(.damaged, "the snapshot's root is damaged") }
            pages.append(ChunkID(digest))
        }
        return pages
    }

    func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(self))
    }

    init(decoding bytes: [UInt8]) throws(FormatError) {
        self = try FormatError.reading("the snapshot's manifest") {
            try JSONDecoder().decode(SnapshotManifest.self, from: Data(bytes))
        }
    }
}
