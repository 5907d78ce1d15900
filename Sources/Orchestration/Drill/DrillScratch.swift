internal import Basics
internal import Snapshots
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A directory that one drill restores into, and nobody else.
///
/// In a place lie a marker `becalm-drill-ID.lock` and beside it the directory `becalm-drill-ID`. The marker comes first
/// and goes last, and whoever made it holds a lock on it (flock(2)), which the kernel takes away when the process ends,
/// however it ends. A marker whose lock can be had is thus what a killed drill has left: it goes, with its directory.
/// A directory without a marker, and anything of another name or owner, is never touched. Everything blocks.
struct DrillScratch: Sendable {
    /// The directory to restore into, raw and absolute; it is there, and empty.
    let path: [UInt8]
    private let id: String
    private let place: CInt
    private let marker: CInt
    /// The place's path when it was made for the drill, and goes with it.
    private let madePlace: [UInt8]?

    private static let prefix = "becalm-drill-", suffix = ".lock"
    private static let idLength = 32
    /// What a marker holds.
    private static let magic = Array("becalm drill: the directory beside this file is removed with all in it\n".utf8)
    /// What a file takes beside its bytes: half a block of 4 KiB on average, its inode, its name.
    private static let bytesPerEntry: UInt64 = 4096
    /// For the file system itself and for others who write meanwhile.
    private static let spareBytes: UInt64 = 64 << 20
    /// A file system's own, in its root.
    private static let ignored: Set<String> = ["lost+found"]

    /// Makes one in the directory `place`, after what killed drills have left there is gone.
    ///
    /// - Parameters:
    ///   - isOwn: whether `place` is for drills alone: then it is made if it is missing, and must be empty.
    ///   - entries: files and directories that are to come.
    ///   - bytes: their content.
    ///
    /// Throws `noSpace`, `busy` when another drill is at work in an own place, and `failed`.
    static func claim(in place: [UInt8], isOwn: Bool, entries: UInt64, bytes: UInt64) throws(JourneyError) -> Self {
        var made: [UInt8]?
        if isOwn {
            if mkdir(terminated(place), 0o700) == 0 {
                made = place
            } else if errno != EEXIST {
                throw failure("make the directory", place)
            }
        }
        let descriptor = openat(AT_FDCWD, terminated(place), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open the directory", place) }
        do throws(JourneyError) {
            let living = try sweep(descriptor, place)
            if isOwn { try requireEmpty(descriptor, place, living: living) }
            try requireSpace(descriptor, place, entries: entries, bytes: bytes)
            return try make(descriptor, place, made)
        } catch {
            close(descriptor)
            if let made { rmdir(terminated(made)) }
            throw error
        }
    }

    /// Removes the directory with all in it, and the marker. Not to be used any more after it.
    func remove() throws(JourneyError) {
        defer {
            close(marker)
            close(place)
        }
        let name = Self.prefix + id
        do throws(Errno) {
            try DirectoryRemoval.remove(name, in: place)
            guard unlinkat(place, name + Self.suffix, 0) == 0 || errno == ENOENT else {
                throw Errno(rawValue: errno)
            }
        } catch {
            throw JourneyError(
                .failed, kind: "scratch_left",
                "\(PathText.display(path)) could not be removed: \(error); the next drill in the same place tries again",
                cause: error)
        }
        if let madePlace { rmdir(Self.terminated(madePlace)) }
    }

    // MARK: Making

    private static func make(
        _ descriptor: CInt, _ place: [UInt8], _ made: [UInt8]?
    ) throws(JourneyError) -> DrillScratch {
        // A name is only ever taken by chance, or by somebody who sweeps away a marker before it is locked.
        for _ in 0..<16 {
            let id = Hex.encode((0..<idLength / 2).map { _ in UInt8.random(in: .min ... .max) })
            let name = prefix + id
            let marker = openat(descriptor, name + suffix, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard marker >= 0 else {
                if errno == EEXIST { continue }
                throw failure("write to", place)
            }
            guard flock(marker, LOCK_EX | LOCK_NB) == 0, isLinked(marker) else {
                close(marker)
                continue
            }
            let isWritten =
                magic.withUnsafeBytes { write(marker, $0.baseAddress, $0.count) } == magic.count && fsync(marker) == 0
            if isWritten, mkdirat(descriptor, name, 0o700) == 0 {
                return DrillScratch(
                    path: place + [UInt8(ascii: "/")] + Array(name.utf8), id: id, place: descriptor, marker: marker,
                    madePlace: made)
            }
            let error = failure("write to", place)
            unlinkat(descriptor, name + suffix, 0)
            close(marker)
            throw error
        }
        throw JourneyError(
            .failed, kind: "failed", "no name is free for a scratch directory in \(PathText.display(place))")
    }

    private static func requireEmpty(_ descriptor: CInt, _ place: [UInt8], living: Bool) throws(JourneyError) {
        let shown = PathText.display(place)
        if living {
            throw JourneyError(
                .busy, kind: "busy", "another drill is at work in \(shown): wait for it, or name another --scratch")
        }
        let names: [String]
        do throws(Errno) { names = try DirectoryRemoval.names(in: descriptor).map { text($0) } } catch {
            throw failure("list", place, error)
        }
        guard let stranger = names.filter({ !ignored.contains($0) }).min() else { return }
        throw JourneyError(
            .failed, kind: "target_exists",
            "\(shown) is not empty (\(PathText.display(Array(stranger.utf8)))): a drill restores into an empty or a new directory, so name another --scratch"
        )
    }

    private static func requireSpace(
        _ descriptor: CInt, _ place: [UInt8], entries: UInt64, bytes: UInt64
    ) throws(JourneyError) {
        var facts = statvfs()
        guard fstatvfs(descriptor, &facts) == 0 else { throw failure("ask for the free space of", place) }
        let shown = PathText.display(place)
        let remedy = "free some, or name a place elsewhere with --scratch"
        let (blocks, tooMany) = entries.multipliedReportingOverflow(by: bytesPerEntry)
        let (content, tooLarge) = bytes.addingReportingOverflow(spareBytes)
        let (sum, tooMuch) = content.addingReportingOverflow(blocks)
        let needed = tooMany || tooLarge || tooMuch ? .max : sum
        let free = UInt64(facts.f_bavail) &* UInt64(facts.f_frsize)
        guard free >= needed else {
            throw JourneyError(
                .noSpace, kind: "no_space",
                "a drill of this snapshot needs \(mebibytes(needed)) of space and \(shown) has \(mebibytes(free)): \(remedy)"
            )
        }
        // 0 where the file system makes inodes as it goes.
        guard facts.f_files == 0 || UInt64(facts.f_favail) >= entries else {
            throw JourneyError(
                .noSpace, kind: "no_space",
                "a drill of this snapshot needs \(entries) inodes and \(shown) has \(facts.f_favail): \(remedy)")
        }
    }

    private static func mebibytes(_ bytes: UInt64) -> String { "\(bytes >> 20) MiB" }

    // MARK: What killed drills have left

    /// Removes it; answers whether a drill is at work in the place.
    private static func sweep(_ descriptor: CInt, _ place: [UInt8]) throws(JourneyError) -> Bool {
        let names: [[CChar]]
        do throws(Errno) { names = try DirectoryRemoval.names(in: descriptor) } catch {
            throw failure("list", place, error)
        }
        var living = false
        for name in names {
            let text = text(name)
            guard text.hasPrefix(prefix), text.hasSuffix(suffix),
                text.utf8.count == prefix.utf8.count + idLength + suffix.utf8.count
            else { continue }
            let directory = String(text.dropLast(suffix.count))
            guard directory.dropFirst(prefix.count).utf8.allSatisfy(isHexadecimal) else { continue }
            do throws(Errno) {
                if try !sweep(marker: text, directory, in: descriptor) { living = true }
            } catch {
                throw JourneyError(
                    .failed, kind: "scratch_left",
                    "\(PathText.display(place))/\(directory), which a killed drill has left, cannot be removed: \(error)",
                    cause: error)
            }
        }
        return living
    }

    /// Removes what belongs to a marker, if it is one and nobody holds it; false when somebody does.
    private static func sweep(marker name: String, _ directory: String, in place: CInt) throws(Errno) -> Bool {
        let marker = openat(place, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        // Gone meanwhile, a link, or not ours.
        guard marker >= 0 else { return true }
        defer { close(marker) }
        var facts = stat()
        guard fstat(marker, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG, facts.st_uid == geteuid() else {
            return true
        }
        guard flock(marker, LOCK_EX | LOCK_NB) == 0 else { return false }
        guard isLinked(marker) else { return true }
        var content = [UInt8](repeating: 0, count: magic.count + 1)
        let count = pread(marker, &content, content.count, 0)
        guard count >= 0 else { return true }
        if Array(content.prefix(count)) == magic {
            try DirectoryRemoval.remove(directory, in: place)
        } else {
            // Killed before it was written: then there is no directory yet. Anything else is not ours.
            var there = stat()
            let isAlone = fstatat(place, directory, &there, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT
            guard isAlone, magic.starts(with: content.prefix(count)) else { return true }
        }
        guard unlinkat(place, name, 0) == 0 || errno == ENOENT else { throw Errno(rawValue: errno) }
        return true
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }

    /// Whether the file still has a name: one that was swept away before it was locked has none.
    private static func isLinked(_ descriptor: CInt) -> Bool {
        var facts = stat()
        return fstat(descriptor, &facts) == 0 && facts.st_nlink > 0
    }

    private static func text(_ name: [CChar]) -> String {
        String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func terminated(_ path: [UInt8]) -> [CChar] { path.map { CChar(bitPattern: $0) } + [0] }

    private static func failure(
        _ what: String, _ place: [UInt8], _ reason: Errno = Errno(rawValue: errno)
    ) -> JourneyError {
        let isFull = reason == .noSpace || reason == .diskQuotaExceeded
        return JourneyError(
            isFull ? .noSpace : .failed, kind: isFull ? "no_space" : "unwritable_directory",
            "cannot \(what) \(PathText.display(place)): \(reason); name another place with --scratch", cause: reason)
    }
}
