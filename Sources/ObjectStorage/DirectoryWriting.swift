internal import Basics
internal import Synchronization
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

extension DirectoryTree {
    /// Folders remembered in `flushedFolders`; 256 shards and a handful besides are usual.
    private static let flushedLimit = 10_000
    /// `O_TMPFILE` without `O_DIRECTORY`: a macro that is not imported, the same on x86-64 and arm64.
    private static let namelessFlag: CInt = 0o20_000_000

    /// Writes the object beside the others, flushes it, and gives it its name in one step.
    func put(
        _ request: RequestContext, _ body: ObjectBody, _ condition: PutCondition,
        _ cancellation: BlockingPool.Cancellation
    ) throws(ObjectStorageError) -> PutReceipt {
        // Asked again when it counts; here it saves writing in vain.
        try check(condition, request)
        if condition == .ifAbsent, let file = try namelessFile(request) {
            let status = try write(body, to: file, request, cancellation)
            let obstacle = try publish(request, status) { () throws(Errno) in
                let path = "/proc/self/fd/\(file.descriptor)"
                try systemCall { linkat(AT_FDCWD, path, rootDescriptor, request.key, AT_SYMLINK_FOLLOW) }
            }
            if obstacle == nil { return try finish(request, status) }
            hasNameless.store(false, ordering: .relaxed)
        }
        return try putNamed(request, body, condition, cancellation)
    }

    /// As `put`, with a temporary file that has a name: what rename(2) needs.
    private func putNamed(
        _ request: RequestContext, _ body: ObjectBody, _ condition: PutCondition,
        _ cancellation: BlockingPool.Cancellation
    ) throws(ObjectStorageError) -> PutReceipt {
        let path = Self.privateDirectory + "/" + String(UInt64.random(in: .min ... .max), radix: 36)
        let file = try makeFile(path, O_RDWR | O_CREAT | O_EXCL, request)
        defer { unlinkat(rootDescriptor, path, 0) }
        let status = try write(body, to: file, request, cancellation)
        if condition == .ifAbsent, hasLinks.load(ordering: .relaxed) {
            let obstacle = try publish(request, status) { () throws(Errno) in
                try systemCall { linkat(rootDescriptor, path, rootDescriptor, request.key, 0) }
            }
            if obstacle == nil { return try finish(request, status) }
            hasLinks.store(false, ordering: .relaxed)
        }
        try withLock(request, required: condition != .none) { () throws(ObjectStorageError) in
            try check(condition, request)
            let obstacle = try publish(request, status) { () throws(Errno) in
                try systemCall { renameat(rootDescriptor, path, rootDescriptor, request.key) }
            }
            if let obstacle { throw request.error(obstacle, "giving it its name") }
        }
        return try finish(request, status)
    }

    /// Throws `.preconditionFailed` unless `condition` holds at this moment.
    private func check(_ condition: PutCondition, _ request: RequestContext) throws(ObjectStorageError) {
        switch condition {
        case .none: return
        case .ifAbsent:
            if try status(request) != nil { throw request.error(.preconditionFailed, "the object exists already") }
        case .ifTag(let tag):
            if try status(request)?.tag != tag {
                throw request.error(.preconditionFailed, "the object is not the one that was read before")
            }
        }
    }

    /// A file without a name, which vanishes unless it gets one; nil where the filesystem knows none.
    private func namelessFile(_ request: RequestContext) throws(ObjectStorageError) -> OpenFile? {
        guard hasNameless.load(ordering: .relaxed) else { return nil }
        do throws(ObjectStorageError) {
            return try makeFile(Self.privateDirectory, O_RDWR | O_DIRECTORY | Self.namelessFlag, request)
        } catch {
            // Old kernels see an attempt to write to a directory; filesystems that know none say "not supported".
            let unknown: [Errno] = [.notSupported, .isDirectory, .invalidArgument, .noFunction]
            guard let cause = error.cause as? Errno, unknown.contains(cause) else { throw error }
            hasNameless.store(false, ordering: .relaxed)
            return nil
        }
    }

    /// Opens a file in the private directory, which is made when it is missing.
    private func makeFile(_ path: String, _ flags: CInt, _ request: RequestContext) throws(ObjectStorageError)
        -> OpenFile
    {
        do throws(Errno) {
            do throws(Errno) {
                return try OpenFile(at: rootDescriptor, path, flags)
            } catch {
                guard error == .noSuchFileOrDirectory else { throw error }
                do throws(Errno) {
                    try systemCall { mkdirat(rootDescriptor, Self.privateDirectory, 0o700) }
                } catch { if error != .fileExists { throw error } }
                return try OpenFile(at: rootDescriptor, path, flags)
            }
        } catch {
            if error == .noSuchFileOrDirectory { try checkRoot(request) }
            throw request.error(error, "making a temporary file")
        }
    }

    /// Writes the body from where it is and flushes it; the file's final status.
    private func write(
        _ body: ObjectBody, to file: borrowing OpenFile, _ request: RequestContext,
        _ cancellation: BlockingPool.Cancellation
    ) throws(ObjectStorageError) -> FileStatus {
        var cursor = PieceCursor(body)
        do throws(Errno) {
            try writeDirectly(&cursor, DirectIO.prefix(of: body), file, cancellation)
            while !cursor.isAtEnd, !cancellation.isCancelled {
                try writeStep(&cursor, Self.stepBytes, file)
            }
            if !cancellation.isCancelled {
                try setRandomNanoseconds(file)
                let status = try FileStatus(of: file.descriptor)
                try Self.flush(file)
                return status
            }
        } catch { throw request.error(error, "writing it to the disk") }
        throw request.cancelled()
    }

    /// Writes the body's first `count` bytes past the page cache, as far as the filesystem does that.
    private func writeDirectly(
        _ cursor: inout PieceCursor, _ count: Int, _ file: borrowing OpenFile,
        _ cancellation: BlockingPool.Cancellation
    ) throws(Errno) {
        guard count > 0, writesDirectly.load(ordering: .relaxed), DirectIO.set(true, for: file) else { return }
        do throws(Errno) {
            while cursor.offset < count, cursor.offset.isMultiple(of: DirectIO.alignment), !cancellation.isCancelled {
                try writeStep(&cursor, min(Self.stepBytes, count - cursor.offset), file)
            }
        } catch {
            guard error == .invalidArgument else { throw error }
            writesDirectly.store(false, ordering: .relaxed)
        }
        // With the flag the rest could not be written: it is no whole block.
        guard DirectIO.set(false, for: file) else { throw .invalidArgument }
    }

    private func writeStep(_ cursor: inout PieceCursor, _ maximumBytes: Int, _ file: borrowing OpenFile) throws(Errno) {
        let written = try cursor.withVectors(maximumBytes: maximumBytes) { (vectors, offset) throws(Errno) in
            try systemCall { pwritev(file.descriptor, vectors.baseAddress, CInt(vectors.count), off_t(offset)) }
        }
        guard written > 0 else { throw .ioError }
        cursor.advance(by: written)
    }

    /// Moves the file's time by less than a millisecond, at random. Filesystems keep time in ticks of milliseconds and
    /// use inode numbers again at once: two objects of one size could have the same inode and time, and so one tag.
    private func setRandomNanoseconds(_ file: borrowing OpenFile) throws(Errno) {
        let modified = try FileStatus(of: file.descriptor).modified
        let time = modified - modified % 1_000_000 + Int64.random(in: 0..<1_000_000)
        let stamp = timespec(tv_sec: Int(time / 1_000_000_000), tv_nsec: Int(time % 1_000_000_000))
        try systemCall { futimens(file.descriptor, [stamp, stamp]) }
    }

    /// Gives the written file its name by `name`, making folders as needed. Nil when done; else the reason why the
    /// filesystem cannot do it this way at all. Throws `.preconditionFailed` when the name is taken.
    private func publish(
        _ request: RequestContext, _ written: FileStatus, by name: () throws(Errno) -> Void
    ) throws(ObjectStorageError) -> Errno? {
        var triesLeft = 8
        while true {
            triesLeft -= 1
            do throws(Errno) {
                try name()
                return nil
            } catch {
                switch error {
                case .noSuchFileOrDirectory where triesLeft > 0: try makeFolders(request)
                case .notPermitted, .notSupported, .noFunction, .tooManyLinks: return error
                case .fileExists, .directoryNotEmpty:
                    let present: FileStatus
                    do throws(Errno) { present = try FileStatus(at: rootDescriptor, request.key) } catch let gone {
                        // Removed since, or a link that leads nowhere and will still be there next time.
                        if triesLeft > 0 { continue }
                        throw request.error(gone == .noSuchFileOrDirectory ? .fileExists : gone, "giving it its name")
                    }
                    // A file server that answers a repeated request refuses what it has done itself.
                    if present.isSameFile(as: written) { return nil }
                    if present.isDirectory { throw request.error(.isDirectory) }
                    guard present.isRegular else {
                        throw request.error(.failed, "something that is no file has its name; remove that")
                    }
                    throw request.error(.preconditionFailed, "the object exists already")
                default: throw request.error(error, "giving it its name", isAmbiguous: true)
                }
            }
        }
    }

    /// Makes the folders that the object's name mentions.
    private func makeFolders(_ request: RequestContext) throws(ObjectStorageError) {
        try checkRoot(request)
        var folder = ""
        for component in request.key.split(separator: "/").dropLast() {
            folder += component + "/"
            do throws(Errno) {
                try systemCall { mkdirat(rootDescriptor, folder, 0o700) }
            } catch {
                // Somebody tidied the one above away at this moment: whoever publishes tries again.
                if error == .noSuchFileOrDirectory { return }
                if error != .fileExists { throw request.error(error, "making its folder") }
            }
        }
    }

    /// Makes the new name safe, and the names of the folders that lead to it.
    private func finish(_ request: RequestContext, _ status: FileStatus) throws(ObjectStorageError) -> PutReceipt {
        var folder = Self.folder(of: request.key)
        do throws(Errno) {
            // The folder's time is that of the naming or later, by the filesystem's clock.
            let named = try flushFolder(folder)
            while folder != ".", flushedFolders.withLock({ !$0.contains(folder) }) {
                let child = folder
                folder = Self.folder(of: folder)
                _ = try flushFolder(folder)
                flushedFolders.withLock { known in
                    if known.count >= Self.flushedLimit { known.removeAll() }
                    known.insert(child)
                }
            }
            return PutReceipt(tag: status.tag, date: Timestamp(nanoseconds: max(named.modified, status.modified)))
        } catch { throw request.error(error, "flushing its folder", isAmbiguous: true) }
    }

    /// Makes the names in a folder safe; the folder's status.
    func flushFolder(_ folder: String) throws(Errno) -> FileStatus {
        let directory = try OpenFile(at: rootDescriptor, folder, O_RDONLY | O_DIRECTORY)
        let status = try FileStatus(of: directory.descriptor)
        try Self.flush(directory)
        return status
    }

    /// The folder that `path` is in: "a/b" of "a/b/c", "." of "a".
    static func folder(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }

    /// fsync(2). Some filesystems cannot flush a directory and say so; their names are as safe as they can be.
    static func flush(_ file: borrowing OpenFile) throws(Errno) {
        do throws(Errno) {
            try systemCall { fsync(file.descriptor) }
        } catch {
            if error != .invalidArgument && error != .notSupported { throw error }
        }
    }

    // MARK: One step among processes

    /// Runs `body` while no other process, and no other thread, does the same in this tree. Without `required`, a
    /// filesystem that has no locks is no reason to fail.
    func withLock<R>(
        _ request: RequestContext, required: Bool, _ body: () throws(ObjectStorageError) -> R
    ) throws(ObjectStorageError) -> R {
        // Each call opens the file anew, for the lock belongs to the open file; closing releases it.
        let file = try makeFile(Self.lockPath, O_RDWR | O_CREAT, request)
        do throws(Errno) {
            try systemCall { flock(file.descriptor, LOCK_EX) }
        } catch {
            let unknown: [Errno] = [.noLocks, .notSupported, .noFunction]
            if required || !unknown.contains(error) { throw request.error(error, "locking \(Self.lockPath)") }
        }
        return try withExtendedLifetime(file) { () throws(ObjectStorageError) in try body() }
    }

    /// The filesystem's time, from touching the lock file; the local clock's where nothing can be touched.
    func measuredTime(_ request: RequestContext) throws(ObjectStorageError) -> Timestamp {
        do throws(ObjectStorageError) {
            let file = try makeFile(Self.lockPath, O_RDWR | O_CREAT, request)
            do throws(Errno) { return try clock.measure(file) } catch { throw request.error(error) }
        } catch {
            if error.code == .accessDenied { return clock.local }
            throw error
        }
    }
}
