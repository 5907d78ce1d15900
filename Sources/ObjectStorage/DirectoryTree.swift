internal import Basics
internal import Synchronization
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// The files of a `DirectoryObjectStore`: every member blocks, and may be called from any number of threads.
final class DirectoryTree: Sendable {
    /// Holds temporary files and the lock. '~' is in no object's name, so it can neither clash nor be listed.
    static let privateDirectory = ".tmp~"
    static let lockPath = privateDirectory + "/lock"
    /// Bytes that one system call moves at most, so that a cancelled job ends soon.
    static let stepBytes = 16 << 20

    let clock: FileSystemClock
    private let root: OpenFile
    /// Folders whose own names are known to be safe on the disk.
    let flushedFolders = Mutex<Set<String>>([])
    /// Cleared when the filesystem turns out to know no hard links.
    let hasLinks: Atomic<Bool>
    /// Cleared when the filesystem turns out to know no nameless files.
    let hasNameless: Atomic<Bool>
    /// Cleared when the filesystem turns out to refuse writing, or reading, past the page cache.
    let writesDirectly = Atomic<Bool>(true)
    private let readsDirectly = Atomic<Bool>(true)

    var rootDescriptor: CInt { root.descriptor }

    /// Opens the tree; with `create`, makes the directory and its parents.
    init(
        root path: FilePath, create: Bool, _ features: DirectoryObjectStore.Features, clock: any WallClock,
        _ request: RequestContext
    ) throws(ObjectStorageError) {
        do throws(Errno) {
            if create { try Self.makeDirectories(path) }
            root = try OpenFile(at: AT_FDCWD, path.string, O_RDONLY | O_DIRECTORY)
        } catch {
            switch error {
            case .noSuchFileOrDirectory:
                throw request.error(
                    .noSuchBucket, "the directory does not exist; make it, mount what should be there, or run init",
                    cause: error)
            case .notDirectory:
                throw request.error(.noSuchBucket, "it is no directory; name a directory", cause: error)
            default: throw request.error(error)
            }
        }
        self.clock = FileSystemClock(clock)
        hasLinks = Atomic(features.hardLinks)
        // Giving a nameless file its name goes through /proc.
        hasNameless = Atomic(features.namelessFiles && features.hardLinks && access("/proc/self/fd", X_OK) == 0)
    }

    private static func makeDirectories(_ path: FilePath) throws(Errno) {
        do throws(Errno) {
            try systemCall { mkdir(path.string, 0o700) }
        } catch {
            if error == .fileExists { return }
            let parent = path.removingLastComponent()
            guard error == .noSuchFileOrDirectory, parent != path, !parent.isEmpty else { throw error }
            try makeDirectories(parent)
            try systemCall { mkdir(path.string, 0o700) }
        }
        let parent = path.removingLastComponent()
        try flush(OpenFile(at: AT_FDCWD, parent.isEmpty ? "." : parent.string, O_RDONLY | O_DIRECTORY))
    }

    // MARK: Reading

    func get(
        _ request: RequestContext, _ range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int,
        _ cancellation: BlockingPool.Cancellation
    ) throws(ObjectStorageError) -> ObjectAttributes {
        buffer.count = 0
        let file = try open(request)
        let status: FileStatus
        do throws(Errno) { status = try FileStatus(of: file.descriptor) } catch { throw request.error(error) }
        guard status.isRegular else { throw request.notFound() }
        let wanted = try request.resolve(range, size: status.size, maximumBytes: maximumBytes)
        // What is read past the page cache is read to the end of a block.
        let blocks = (wanted.count + DirectIO.alignment - 1) / DirectIO.alignment * DirectIO.alignment
        buffer.ensureCapacity(blocks)
        var done = 0
        var isDirect =
            wanted.count >= DirectIO.minimumBytes && wanted.lowerBound.isMultiple(of: UInt64(DirectIO.alignment))
            && readsDirectly.load(ordering: .relaxed) && DirectIO.set(true, for: file)
        while done < wanted.count {
            if cancellation.isCancelled { throw request.cancelled() }
            let end = min(isDirect ? blocks : wanted.count, done + Self.stepBytes)
            let space = UnsafeMutableRawBufferPointer(rebasing: buffer.storage[done..<end])
            let count: Int
            do throws(Errno) {
                count = try systemCall {
                    pread(file.descriptor, space.baseAddress, space.count, off_t(wanted.lowerBound) + off_t(done))
                }
            } catch {
                guard isDirect, error == .invalidArgument, DirectIO.set(false, for: file) else {
                    throw request.error(error)
                }
                isDirect = false
                readsDirectly.store(false, ordering: .relaxed)
                continue
            }
            guard count > 0 else {
                throw request.error(
                    .corrupted, "the file became shorter while it was read; something else writes there")
            }
            done += count
        }
        buffer.count = wanted.count
        return attributes(request.key, status, date: clock.now(self))
    }

    private func open(_ request: RequestContext) throws(ObjectStorageError) -> OpenFile {
        do throws(Errno) {
            // Without O_NONBLOCK opening a FIFO that somebody put there would wait for ever.
            return try OpenFile(at: rootDescriptor, request.key, O_RDONLY | O_NONBLOCK)
        } catch { throw missing(request, error) }
    }

    func head(_ request: RequestContext) throws(ObjectStorageError) -> ObjectAttributes {
        guard let status = try status(request) else { throw request.notFound() }
        return attributes(request.key, status, date: clock.now(self))
    }

    /// The object's status; nil when there is none of that name.
    func status(_ request: RequestContext) throws(ObjectStorageError) -> FileStatus? {
        do throws(Errno) {
            let status = try FileStatus(at: rootDescriptor, request.key)
            return status.isRegular ? status : nil
        } catch {
            let error = missing(request, error)
            if error.code == .notFound { return nil }
            throw error
        }
    }

    func attributes(_ key: String, _ status: FileStatus, date: Timestamp? = nil) -> ObjectAttributes {
        ObjectAttributes(
            key: key, size: status.size, tag: status.tag, modified: Timestamp(nanoseconds: status.modified), date: date)
    }

    /// Throws `.noSuchBucket` when the root directory itself has been removed: an empty answer would be a lie.
    func checkRoot(_ request: RequestContext) throws(ObjectStorageError) {
        let links: UInt64
        do throws(Errno) { links = try FileStatus(of: rootDescriptor).links } catch { throw request.error(error) }
        if links == 0 { throw request.error(.noSuchBucket, "the directory was removed while it was in use") }
    }

    private func missing(_ request: RequestContext, _ errno: Errno) -> ObjectStorageError {
        guard errno == .noSuchFileOrDirectory || errno == .notDirectory else { return request.error(errno) }
        do throws(ObjectStorageError) { try checkRoot(request) } catch { return error }
        return request.notFound()
    }

    // MARK: Removing

    func delete(_ request: RequestContext, ifTag: String?) throws(ObjectStorageError) {
        guard try status(request) != nil else {
            if ifTag == nil { return }
            throw request.notFound()
        }
        try withLock(request, required: ifTag != nil) { () throws(ObjectStorageError) in
            guard let present = try status(request) else {
                if ifTag == nil { return }
                throw request.notFound()
            }
            if let ifTag, present.tag != ifTag {
                throw request.error(.preconditionFailed, "the object is not the one that was read before")
            }
            do throws(Errno) {
                try systemCall { unlinkat(rootDescriptor, request.key, 0) }
            } catch {
                if error != .noSuchFileOrDirectory { throw request.error(error) }
            }
        }
        let isProbe = request.key.hasPrefix(CapabilityProbe.prefix)
        do throws(Errno) {
            _ = try flushFolder(Self.folder(of: request.key))
        } catch {
            // Another probe that tidies up too may have removed the folder.
            guard isProbe, error == .noSuchFileOrDirectory else {
                throw request.error(error, "flushing its folder", isAmbiguous: true)
            }
        }
        if isProbe { removeEmptyFolders(of: request.key) }
    }

    /// Removes the folders that the last object of a probe leaves behind: no listing shows them, but people see them.
    /// Other folders stay, for they would be made again and again.
    private func removeEmptyFolders(of key: String) {
        var folder = Self.folder(of: key)
        while folder != ".", unlinkat(rootDescriptor, folder, AT_REMOVEDIR) == 0 {
            flushedFolders.withLock { _ = $0.remove(folder) }
            folder = Self.folder(of: folder)
        }
    }

    func sweepTemporaries(_ request: RequestContext) throws(ObjectStorageError) -> Int {
        let now = try measuredTime(request)
        var removed = 0
        do throws(Errno) {
            for entry in try DirectoryEntries.read(at: rootDescriptor, Self.privateDirectory) {
                let path = Self.privateDirectory + "/" + entry.name
                guard path != Self.lockPath else { continue }
                do throws(Errno) {
                    let status = try FileStatus(at: rootDescriptor, path)
                    guard status.isRegular, now - Timestamp(nanoseconds: status.modified) > 86_400 else { continue }
                    try systemCall { unlinkat(rootDescriptor, path, 0) }
                    removed += 1
                } catch {
                    // Gone already: its writer was alive after all, or another process sweeps too.
                    if error != .noSuchFileOrDirectory { throw error }
                }
            }
        } catch {
            if error != .noSuchFileOrDirectory { throw request.error(error) }
        }
        return removed
    }
}
