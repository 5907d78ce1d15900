internal import Basics
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// The names in one directory, as far as they can be parts of objects' names.
enum DirectoryEntries {
    /// A name, and whether it is known to be a folder or a file (nil: only `stat` can tell).
    struct Entry {
        var name: String
        var isFolder: Bool?
    }

    /// Reads the directory `path`, relative to `directory`, in no order. What no key can name is left out.
    static func read(at directory: CInt, _ path: String) throws(Errno) -> [Entry] {
        let descriptor = try systemCall { openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard let stream = fdopendir(descriptor) else {
            let error = Errno(rawValue: errno)
            close(descriptor)
            throw error
        }
        defer { closedir(stream) }
        var entries: [Entry] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw Errno(rawValue: errno) }
                return entries
            }
            let isFolder: Bool?
            switch CInt(entry.pointee.d_type) {
            case CInt(DT_DIR): isFolder = true
            case CInt(DT_REG): isFolder = false
            case CInt(DT_LNK), CInt(DT_UNKNOWN): isFolder = nil
            default: continue
            }
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { continue }
            let name = String(cString: (UnsafeRawPointer(entry) + offset).assumingMemoryBound(to: CChar.self))
            if ObjectKey.isComponent(name) { entries.append(Entry(name: name, isFolder: isFolder)) }
        }
    }
}

/// A walk through the tree in the byte order of the objects' keys, which ends when a page is full.
///
/// A folder sorts as its name with a slash, which is how the keys below it compare with its neighbours. Nothing is kept
/// between two pages: the token is the last key, and a page reads only the folders that it lists from or passes through.
struct DirectoryListing {
    private static let pageSize = 1000

    private let tree: DirectoryTree
    private let request: RequestContext
    private let prefix: String
    /// Only keys above this one are wanted.
    private let after: String
    private let cancellation: BlockingPool.Cancellation
    private var objects: [ObjectAttributes] = []
    private var isFull = false

    /// The page of objects whose keys begin with the request's key and are above `token`.
    static func page(
        of tree: DirectoryTree, _ request: RequestContext, after token: String?,
        _ cancellation: BlockingPool.Cancellation
    ) throws(ObjectStorageError) -> ObjectPage {
        // Before the first look, so that what the page does not show was put after its date.
        let date = tree.clock.now(tree, fresh: true)
        var listing = DirectoryListing(
            tree: tree, request: request, prefix: request.key, after: token ?? "", cancellation: cancellation)
        let start = request.key.lastIndex(of: "/").map { String(request.key[...$0]) } ?? ""
        try listing.visit(start)
        if listing.objects.isEmpty { try tree.checkRoot(request) }
        return ObjectPage(
            objects: listing.objects, next: listing.isFull ? listing.objects.last?.key : nil, date: date)
    }

    private init(
        tree: DirectoryTree, request: RequestContext, prefix: String, after: String,
        cancellation: BlockingPool.Cancellation
    ) {
        self.tree = tree
        self.request = request
        self.prefix = prefix
        self.after = after
        self.cancellation = cancellation
    }

    /// Lists what is below `folder`: empty, or with a slash at its end.
    private mutating func visit(_ folder: String) throws(ObjectStorageError) {
        if cancellation.isCancelled { throw request.cancelled() }
        for name in try candidates(in: folder) {
            if name.hasSuffix("/") {
                try visit(name)
            } else if let status = try status(name), status.isRegular {
                if objects.count == Self.pageSize {
                    isFull = true
                } else {
                    objects.append(tree.attributes(name, status))
                }
            }
            if isFull { return }
        }
    }

    /// The full names in `folder` that may matter, in order; folders with a slash at their end.
    private func candidates(in folder: String) throws(ObjectStorageError) -> [String] {
        let entries: [DirectoryEntries.Entry]
        do throws(Errno) {
            entries = try DirectoryEntries.read(at: tree.rootDescriptor, folder.isEmpty ? "." : folder)
        } catch {
            // Gone since its name was read, or a prefix that nothing begins with.
            if error == .noSuchFileOrDirectory || error == .notDirectory { return [] }
            throw request.error(error, "reading the folder \(folder.isEmpty ? "." : folder)")
        }
        var names: [String] = []
        for entry in entries {
            var name = folder + entry.name
            guard name.hasPrefix(prefix) else { continue }
            if try isFolder(entry, name) {
                name += "/"
                guard name > after || after.hasPrefix(name) else { continue }
                // No key is that long; a link that leads back to a folder above would go on without end.
                guard name.utf8.count < ObjectKey.maximumBytes else { continue }
            } else if name <= after {
                continue
            }
            names.append(name)
        }
        names.sort()
        return names
    }

    private func isFolder(_ entry: DirectoryEntries.Entry, _ name: String) throws(ObjectStorageError) -> Bool {
        if let isFolder = entry.isFolder { return isFolder }
        return try status(name)?.isDirectory ?? false
    }

    /// Nil when it has vanished since its name was read.
    private func status(_ name: String) throws(ObjectStorageError) -> FileStatus? {
        do throws(Errno) {
            return try FileStatus(at: tree.rootDescriptor, name)
        } catch {
            // A link that leads to itself counts as one that leads nowhere.
            let absent: [Errno] = [.noSuchFileOrDirectory, .notDirectory, .tooManySymbolicLinkLevels]
            if absent.contains(error) { return nil }
            throw request.error(error, "looking at \(name)")
        }
    }
}
