internal import CFileSystemShims
internal import RepositoryFormat
internal import Synchronization
internal import SystemPackage

/// The directory that a snapshot is restored into. Nothing reached through it lies outside of it, whatever a snapshot's
/// paths contain and whatever symbolic links lie in the way: each component is opened by its bare name and not followed.
///
/// Keeps the directories used last open. Any thread may use it, several at once. All members block.
package final class RestoreTarget: Sendable {
    /// The target directory itself.
    package let root: DirectoryHandle
    private let cache: Mutex<Cache>

    /// Directories kept open by default: an eighth of the usual limit of 1024 descriptors.
    package static let defaultOpenDirectories = 128

    private init(root: DirectoryHandle, openDirectories: Int) {
        precondition(openDirectories > 0)
        self.root = root
        cache = Mutex(Cache(limit: openDirectories))
    }

    /// Opens the target at `path`, which is the user's own: symbolic links in it are followed. With `create`, it and the
    /// directories above it are made where they are missing.
    ///
    /// Throws `.targetMissing`, `.notADirectory`, `.permissionDenied`, `.invalidArgument`.
    package static func open(
        path: [UInt8], create: Bool, openDirectories: Int = defaultOpenDirectories
    ) throws(SnapshotError) -> RestoreTarget {
        do throws(SnapshotError) {
            return RestoreTarget(
                root: try DirectoryHandle.open(path: path, side: .target), openDirectories: openDirectories)
        } catch {
            guard create, error.code == .targetMissing else { throw error }
        }
        try makeDirectories(path)
        return RestoreTarget(
            root: try DirectoryHandle.open(path: path, side: .target), openDirectories: openDirectories)
    }

    /// The directory at `components` below the target, no components being the target itself.
    ///
    /// With `create`, those missing are made, mode 0700 until their metadata is applied. Throws `.refusedPath` for a
    /// component that is no plain name, or that is there as something else than a directory (a symbolic link is never
    /// followed, whatever it points to); `.targetMissing` without `create`.
    package func directory(_ components: [[UInt8]], create: Bool) throws(SnapshotError) -> DirectoryHandle {
        var keys: [[UInt8]] = []
        keys.reserveCapacity(components.count)
        for component in components {
            try EntryName.validate(component, in: root.path)
            keys.append(keys.last.map { EntryName.join($0, component) } ?? component)
        }
        var depth = keys.count
        var handle = root
        while depth > 0 {
            let key = keys[depth - 1]
            if let found = cache.withLock({ $0.find(key) }) {
                handle = found
                break
            }
            depth -= 1
        }
        while depth < keys.count {
            let name = components[depth]
            handle = create ? try Self.openOrMake(name, in: handle) : try handle.openDirectory(name: name)
            let opened = handle
            // Dropped after the lock is released: its descriptor is closed then.
            let evicted = cache.withLock { $0.insert(keys[depth], opened) }
            withExtendedLifetime(evicted) {}
            depth += 1
        }
        return handle
    }

    /// The directory that ext file systems keep for themselves at their root.
    static let lostAndFound = Array("lost+found".utf8)

    /// Whether the snapshot's directory `entry` at `path` is one that a file system mounted at the target has by itself.
    static func isFileSystemsOwn(_ path: [[UInt8]], _ entry: TreeEntry) -> Bool {
        path == [lostAndFound] && entry.metadata.type == .directory
    }

    /// Closes what is kept open of `components` and below, before the caller removes or renames it.
    package func forget(_ components: [[UInt8]]) {
        let key = Array(components.joined(separator: [UInt8(ascii: "/")]))
        let dropped = cache.withLock { $0.remove(key) }
        withExtendedLifetime(dropped) {}
    }

    private static func openOrMake(
        _ name: [UInt8], in parent: DirectoryHandle
    ) throws(SnapshotError) -> DirectoryHandle {
        do throws(SnapshotError) {
            return try parent.openDirectory(name: name)
        } catch {
            guard error.code == .targetMissing else { throw error }
        }
        // Another thread may have made it in between: then opening it is right as well.
        _ = try parent.makeDirectory(name: name)
        return try parent.openDirectory(name: name)
    }

    /// As `mkdir -p`; the umask decides on the modes of the directories above.
    private static func makeDirectories(_ path: [UInt8]) throws(SnapshotError) {
        let slash = UInt8(ascii: "/")
        let end = path.lastIndex { $0 != slash } ?? 0
        let path = path[...end]
        for index in 1...path.count where index == path.count || (path[index] == slash && path[index - 1] != slash) {
            let part = Array(path[..<index])
            let result = EntryName.withTerminated(part) { fs_make_directory($0, index == path.count ? 0o700 : 0o777) }
            if result < 0, Errno(rawValue: -result) != .fileExists {
                throw .system(Errno(rawValue: -result), "create the directory", part, side: .target)
            }
        }
    }
}

/// Open directories by their path below the target, the least recently used going first.
private struct Cache: Sendable {
    private struct Entry {
        var handle: DirectoryHandle
        var lastUse: UInt64
    }

    private let limit: Int
    private var entries: [[UInt8]: Entry] = [:]
    private var uses: UInt64 = 0

    init(limit: Int) { self.limit = limit }

    mutating func find(_ key: [UInt8]) -> DirectoryHandle? {
        guard let index = entries.index(forKey: key) else { return nil }
        uses += 1
        entries.values[index].lastUse = uses
        return entries.values[index].handle
    }

    /// Answers the entry that had to go, so that the caller drops it outside of its lock.
    mutating func insert(_ key: [UInt8], _ handle: DirectoryHandle) -> DirectoryHandle? {
        uses += 1
        var evicted = entries.updateValue(Entry(handle: handle, lastUse: uses), forKey: key)?.handle
        if entries.count > limit, let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse })?.key {
            evicted = entries.removeValue(forKey: oldest)?.handle
        }
        return evicted
    }

    /// Removes `key` and everything below it.
    mutating func remove(_ key: [UInt8]) -> [DirectoryHandle] {
        let prefix = key + [UInt8(ascii: "/")]
        let gone = entries.keys.filter { key.isEmpty || $0 == key || $0.starts(with: prefix) }
        return gone.compactMap { entries.removeValue(forKey: $0)?.handle }
    }
}
