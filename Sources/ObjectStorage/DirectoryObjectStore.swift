package import Basics
package import SystemPackage

/// Objects as files below a directory: a local disk, a USB disk, NFS.
///
/// An object is written beside the others, flushed to the disk, and given its name in one step, so a reader sees the
/// whole of it or none, and a crash leaves at most a temporary file. `.ifAbsent` rests on link(2); what compares a tag
/// or removes does so under a file lock, which makes it one step among processes that use this type. A name cannot be
/// both an object and the folder of another. Symbolic links count as what they point to.
///
/// System calls run on a few threads of the store's own. What has begun runs to its end, but a cancelled `put` publishes
/// nothing that it has not published yet.
package final class DirectoryObjectStore: ObjectStore {
    /// Threads that make system calls: enough to keep a disk's queue or a network filesystem busy.
    private static let threads = 8

    /// What to make use of where the filesystem has it.
    package struct Features: Hashable, Sendable {
        /// link(2), which creates a name or fails in one step; FAT and some network filesystems have none.
        package var hardLinks = true
        /// Files without a name (`O_TMPFILE`), which a crash does not leave behind.
        package var namelessFiles = true

        /// All of them.
        package init() {}
    }

    package let location: String
    package let capabilities = StoreCapabilities(
        createIfAbsent: true, replaceIfTag: true, conditionalDelete: true, listIsOrdered: true, retention: false)
    private let pool: BlockingPool
    private let tree: DirectoryTree

    /// Opens the store in the directory `root`; with `create`, makes the directory and its parents first.
    ///
    /// Throws `.noSuchBucket` when it does not exist, `.accessDenied`, or what else the system reports. `clock` stands in
    /// for the filesystem's where that cannot be asked, on a read-only one.
    package init(
        root: FilePath, create: Bool = false, features: Features = Features(),
        clock: any WallClock = SystemWallClock()
    ) async throws(ObjectStorageError) {
        location = root.string
        pool = BlockingPool(limit: Self.threads, name: "becalm-files")
        let request = RequestContext(action: "open the store", key: "", location: root.string)
        tree = try await pool.run(request) { _ throws(ObjectStorageError) in
            try DirectoryTree(root: root, create: create, features, clock: clock, request)
        }
    }

    package func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        let request = try begin("store", key)
        guard options.retention == nil else {
            throw request.error(
                .unsupported, "a directory keeps no object under retention; use an S3 bucket with Object Lock")
        }
        return try await pool.run(request) { [tree] cancellation throws(ObjectStorageError) in
            try tree.put(request, body, options.condition, cancellation)
        }
    }

    package func get(
        _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> ObjectAttributes {
        let request = try begin("read", key)
        return try await pool.run(request) { [tree] cancellation throws(ObjectStorageError) in
            try tree.get(request, range, into: buffer, maximumBytes: maximumBytes, cancellation)
        }
    }

    package func head(_ key: String) async throws(ObjectStorageError) -> ObjectAttributes {
        let request = try begin("look up", key)
        return try await pool.run(request) { [tree] _ throws(ObjectStorageError) in try tree.head(request) }
    }

    package func list(prefix: String, token: String?) async throws(ObjectStorageError) -> ObjectPage {
        try ObjectKey.checkPrefix(prefix)
        let request = RequestContext(action: "list", key: prefix, location: location)
        return try await pool.run(request) { [tree] cancellation throws(ObjectStorageError) in
            try DirectoryListing.page(of: tree, request, after: token, cancellation)
        }
    }

    package func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError) {
        let request = try begin("delete", key)
        try await pool.run(request) { [tree] _ throws(ObjectStorageError) in try tree.delete(request, ifTag: ifTag) }
    }

    package func extendRetention(_ key: String, _ retention: Retention) async throws(ObjectStorageError) {
        let request = try begin("extend the retention of", key)
        throw request.error(
            .unsupported, "a directory keeps no object under retention; use an S3 bucket with Object Lock")
    }

    /// The filesystem's clock: the time that a file gets which is touched now, so a file server's own.
    package func serverTime() async throws(ObjectStorageError) -> Timestamp {
        let request = RequestContext(action: "ask for the time of", key: "", location: location)
        return try await pool.run(request) { [tree] _ throws(ObjectStorageError) in try tree.measuredTime(request) }
    }

    /// Removes what writers that died left behind: temporary files that nobody has written to for a day, by the
    /// filesystem's clock. Gives the number removed. Throws what the system reports.
    package func sweepTemporaries() async throws(ObjectStorageError) -> Int {
        let request = RequestContext(action: "sweep temporary files", key: "", location: location)
        return try await pool.run(request) { [tree] _ throws(ObjectStorageError) in try tree.sweepTemporaries(request) }
    }

    private func begin(_ action: String, _ key: String) throws(ObjectStorageError) -> RequestContext {
        try ObjectKey.check(key, action)
        return RequestContext(action: action, key: key, location: location)
    }
}
