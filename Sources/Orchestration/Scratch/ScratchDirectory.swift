internal import Basics
internal import Snapshots
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A directory that one drill or one restore writes into, and nobody else, until it is removed or its content published.
///
/// In a place lie a marker `PREFIX-ID.lock` and beside it the directory `PREFIX-ID`. The marker comes first
/// and goes last, and whoever made it holds a lock on it (flock(2)), which the kernel takes away when the process ends,
/// however it ends. A marker whose lock can be had is thus what a killed process has left: it goes, with its directory.
/// A directory without a marker, and anything of another name or owner, is never touched. Everything blocks.
package struct ScratchDirectory: Sendable {
    /// Whose it is: names, and words for messages.
    package struct Purpose: Sendable {
        /// What the names of marker and directory begin with.
        let prefix: String
        /// What a marker holds.
        let magic: [UInt8]
        /// In messages: "another drill is at work".
        let noun: String
        /// What to do about a place that will not do.
        let remedy: String

        /// For what is restored to be looked at and removed again.
        package static let drill = Purpose(
            prefix: "becalm-drill-",
            magic: Array("becalm drill: the directory beside this file is removed with all in it\n".utf8),
            noun: "drill", remedy: "name another place with --scratch")
        /// For what is restored to become a new volume when all of it is there. Its names are hidden.
        package static let volume = Purpose(
            prefix: ".becalm-volume-",
            magic: Array("becalm volume: the directory beside this file is removed with all in it\n".utf8),
            noun: "restore", remedy: "name another place in restoreRoots")
        /// For the objects of a workload, on their way into a snapshot or out of one.
        package static let objects = Purpose(
            prefix: "becalm-objects-",
            magic: Array("becalm objects: the directory beside this file is removed with all in it\n".utf8),
            noun: "backup or restore of a workload", remedy: "name another place with TMPDIR")
    }

    /// What the names of markers and directories of `.volume` begin with.
    package static let volumeNames = Purpose.volume.prefix

    /// The directory to restore into, raw and absolute; it is there, and empty.
    package let path: [UInt8]
    private let purpose: Purpose
    private let id: String
    private let place: CInt
    private let marker: CInt
    /// The place's path when it was made for the drill, and goes with it.
    private let madePlace: [UInt8]?

    private static let suffix = ".lock"
    private static let idLength = 32
    /// What a file takes beside its bytes: half a block of 4 KiB on average, its inode, its name.
    private static let bytesPerEntry: UInt64 = 4096
    /// For the file system itself and for others who write meanwhile.
    private static let spareBytes: UInt64 = 64 << 20
    /// A file system's own, in its root.
    private static let ignored: Set<String> = ["lost+found"]

    /// What is to come: files and directories, and the bytes of their content.
    package struct Need: Sendable {
        package var entries: UInt64
        package var bytes: UInt64

        package init(entries: UInt64, bytes: UInt64) {
            self.entries = entries
            self.bytes = bytes
        }
    }

    /// Makes one in the directory `place`, after what killed processes have left there is gone.
    ///
    /// - Parameters:
    ///   - isOwn: whether `place` is for drills alone: then it is made if it is missing, and must be empty.
    ///   - need: what there must be room for; nil leaves it to the writer to find out, for holes take no room.
    ///
    /// Throws `noSpace`, `busy` when another drill is at work in an own place, and `failed`.
    package static func claim(
        for purpose: Purpose, in place: [UInt8], isOwn: Bool, need: Need?
    ) throws(JourneyError) -> Self {
        var made: [UInt8]?
        if isOwn {
            if mkdir(terminated(place), 0o700) == 0 {
                made = place
            } else if errno != EEXIST {
                throw failure("make the directory", place, purpose)
            }
        }
        let descriptor = openat(AT_FDCWD, terminated(place), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open the directory", place, purpose) }
        do throws(JourneyError) {
            let living = try sweep(descriptor, place, purpose)
            if isOwn { try requireEmpty(descriptor, place, purpose, living: living) }
            if let need { try requireSpace(descriptor, place, purpose, need) }
            return try make(descriptor, place, purpose, made)
        } catch {
            close(descriptor)
            if let made { rmdir(terminated(made)) }
            throw error
        }
    }

    /// Removes the directory with all in it, and the marker. Not to be used any more after it.
    package func remove() throws(JourneyError) {
        defer {
            close(marker)
            close(place)
        }
        let name = purpose.prefix + id
        do throws(Errno) {
            try DirectoryRemoval.remove(name, in: place)
            guard unlinkat(place, name + Self.suffix, 0) == 0 || errno == ENOENT else {
                throw Errno(rawValue: errno)
            }
        } catch {
            throw JourneyError(
                .failed, kind: "scratch_left",
                "\(PathText.display(path)) could not be removed: \(error); the next \(purpose.noun) in the same place tries again",
                cause: error)
        }
        if let madePlace { rmdir(Self.terminated(madePlace)) }
    }

    /// Gives the entry `name` of the directory the name `newName` in the place, in one step; the directory stays, to be
    /// removed. What is to be published must be on the disk. Throws `target_exists` when the name is taken.
    package func publish(_ name: [UInt8], as newName: [UInt8]) throws(JourneyError) {
        let shown = PathText.display(newName)
        var facts = stat()
        guard fstatat(place, Self.terminated(newName), &facts, AT_SYMLINK_NOFOLLOW) != 0, errno == ENOENT else {
            throw JourneyError(.failed, kind: "target_exists", "\(shown) is there already: \(purpose.remedy)")
        }
        let inside = Array("\(purpose.prefix)\(id)/".utf8) + name
        guard renameat(place, Self.terminated(inside), place, Self.terminated(newName)) == 0 else {
            let reason = Errno(rawValue: errno)
            throw JourneyError(
                .failed, kind: "unwritable_directory", "cannot give what was restored the name \(shown): \(reason)",
                cause: reason)
        }
        // EINVAL: the file system has nothing to wait for (fsync(2)).
        guard fsync(place) == 0 || errno == EINVAL else {
            let reason = Errno(rawValue: errno)
            throw JourneyError(
                .failed, kind: "unwritable_directory", "cannot write the name \(shown) to the disk: \(reason)",
                cause: reason)
        }
    }

    // MARK: Making

    private static func make(
        _ descriptor: CInt, _ place: [UInt8], _ purpose: Purpose, _ made: [UInt8]?
    ) throws(JourneyError) -> ScratchDirectory {
        let magic = purpose.magic
        // A name is only ever taken by chance, or by somebody who sweeps away a marker before it is locked.
        for _ in 0..<16 {
            let id = Hex.encode((0..<idLength / 2).map { _ in UInt8.random(in: .min ... .max) })
            let name = purpose.prefix + id
            let marker = openat(descriptor, name + suffix, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard marker >= 0 else {
                if errno == EEXIST { continue }
                throw failure("write to", place, purpose)
            }
            guard flock(marker, LOCK_EX | LOCK_NB) == 0, isLinked(marker) else {
                close(marker)
                continue
            }
            let isWritten =
                magic.withUnsafeBytes { write(marker, $0.baseAddress, $0.count) } == magic.count && fsync(marker) == 0
            if isWritten, mkdirat(descriptor, name, 0o700) == 0 {
                return ScratchDirectory(
                    path: place + [UInt8(ascii: "/")] + Array(name.utf8), purpose: purpose, id: id, place: descriptor,
                    marker: marker,
                    madePlace: made)
            }
            let error = failure("write to", place, purpose)
            unlinkat(descriptor, name + suffix, 0)
            close(marker)
            throw error
        }
        throw JourneyError(
            .failed, kind: "failed", "no name is free for a scratch directory in \(PathText.display(place))")
    }

    private static func requireEmpty(
        _ descriptor: CInt, _ place: [UInt8], _ purpose: Purpose, living: Bool
    ) throws(JourneyError) {
        let shown = PathText.display(place)
        if living {
            throw JourneyError(
                .busy, kind: "busy", "another \(purpose.noun) is at work in \(shown): wait for it, or \(purpose.remedy)"
            )
        }
        let names: [String]
        do throws(Errno) { names = try DirectoryRemoval.names(in: descriptor).map { text($0) } } catch {
            throw failure("list", place, purpose, error)
        }
        guard let stranger = names.filter({ !ignored.contains($0) }).min() else { return }
        throw JourneyError(
            .failed, kind: "target_exists",
            "\(shown) is not empty (\(PathText.display(Array(stranger.utf8)))): a \(purpose.noun) wants an empty or a new directory, so \(purpose.remedy)"
        )
    }

    private static func requireSpace(
        _ descriptor: CInt, _ place: [UInt8], _ purpose: Purpose, _ need: Need
    ) throws(JourneyError) {
        var facts = statvfs()
        guard fstatvfs(descriptor, &facts) == 0 else { throw failure("ask for the free space of", place, purpose) }
        let shown = PathText.display(place)
        let remedy = "free some, or \(purpose.remedy)"
        let (blocks, tooMany) = need.entries.multipliedReportingOverflow(by: bytesPerEntry)
        let (content, tooLarge) = need.bytes.addingReportingOverflow(spareBytes)
        let (sum, tooMuch) = content.addingReportingOverflow(blocks)
        let needed = tooMany || tooLarge || tooMuch ? .max : sum
        let free = UInt64(facts.f_bavail) &* UInt64(facts.f_frsize)
        guard free >= needed else {
            throw JourneyError(
                .noSpace, kind: "no_space",
                "a \(purpose.noun) of this snapshot needs \(mebibytes(needed)) of space and \(shown) has \(mebibytes(free)): \(remedy)"
            )
        }
        // 0 where the file system makes inodes as it goes.
        guard facts.f_files == 0 || UInt64(facts.f_favail) >= need.entries else {
            throw JourneyError(
                .noSpace, kind: "no_space",
                "a \(purpose.noun) of this snapshot needs \(need.entries) inodes and \(shown) has \(facts.f_favail): \(remedy)"
            )
        }
    }

    private static func mebibytes(_ bytes: UInt64) -> String { "\(bytes >> 20) MiB" }

    // MARK: What killed processes have left

    /// Removes it; answers whether somebody is at work in the place.
    private static func sweep(
        _ descriptor: CInt, _ place: [UInt8], _ purpose: Purpose
    ) throws(JourneyError) -> Bool {
        let prefix = purpose.prefix
        let names: [[CChar]]
        do throws(Errno) { names = try DirectoryRemoval.names(in: descriptor) } catch {
            throw failure("list", place, purpose, error)
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
                if try !sweep(marker: text, directory, purpose.magic, in: descriptor) { living = true }
            } catch {
                throw JourneyError(
                    .failed, kind: "scratch_left",
                    "\(PathText.display(place))/\(directory), which a killed \(purpose.noun) has left, cannot be removed: \(error)",
                    cause: error)
            }
        }
        return living
    }

    /// Removes what belongs to a marker, if it is one and nobody holds it; false when somebody does.
    private static func sweep(
        marker name: String, _ directory: String, _ magic: [UInt8], in place: CInt
    ) throws(Errno) -> Bool {
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
        _ what: String, _ place: [UInt8], _ purpose: Purpose, _ reason: Errno = Errno(rawValue: errno)
    ) -> JourneyError {
        let isFull = reason == .noSpace || reason == .diskQuotaExceeded
        return JourneyError(
            isFull ? .noSpace : .failed, kind: isFull ? "no_space" : "unwritable_directory",
            "cannot \(what) \(PathText.display(place)): \(reason); \(purpose.remedy)", cause: reason)
    }
}
