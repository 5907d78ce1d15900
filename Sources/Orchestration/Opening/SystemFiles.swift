internal import Snapshots
package import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// The few things that whoever opens a repository asks of the file system itself. Everything blocks.
package enum SystemFiles {
    /// Writes everything to a descriptor; answers what kept it from taking all, nil for nothing.
    package static func writeAll(_ bytes: [UInt8], to descriptor: CInt) -> Errno? {
        bytes.withUnsafeBytes { raw -> Errno? in
            var rest = raw[...]
            while !rest.isEmpty {
                let count = systemWrite(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if count < 0, errno == EAGAIN {
                    // Somebody made the descriptor non-blocking: wait until it takes more.
                    var look = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&look, 1, -1)
                } else if count < 0, errno == EINTR {
                    continue
                } else {
                    // A write of nothing, again and again, would never end.
                    return count < 0 ? Errno(rawValue: errno) : .ioError
                }
            }
            return nil
        }
    }

    /// The content of a small file. `what` names it in errors. Throws usage errors: users name such files.
    package static func read(_ path: [UInt8], what: String, maximumBytes: Int = 1 << 20) throws(JourneyError) -> [UInt8]
    {
        do {
            let descriptor = try openFile(path, O_RDONLY)
            defer { close(descriptor) }
            var content: [UInt8] = []
            var piece = [UInt8](repeating: 0, count: 64 << 10)
            while true {
                let count = systemRead(descriptor, &piece, piece.count)
                if count < 0 && errno == EINTR { continue }
                guard count >= 0 else { throw Errno(rawValue: errno) }
                if count == 0 { return content }
                content += piece.prefix(count)
                guard content.count <= maximumBytes else {
                    throw JourneyError.usage("\(what) \(PathText.display(path)) is larger than \(maximumBytes) bytes")
                }
            }
        } catch let error as Errno {
            throw JourneyError(
                .usage, kind: "unreadable_file", "cannot read \(what) \(PathText.display(path)): \(error)",
                cause: error)
        } catch {
            throw JourneyError(error)
        }
    }

    /// Writes a file anew, in place of one that is there, readable by its owner alone if `isSecret`; a secret never
    /// replaces a file.
    package static func write(_ bytes: [UInt8], to path: [UInt8], isSecret: Bool = false) throws(JourneyError) {
        do throws(Errno) {
            let flags = O_WRONLY | O_CREAT | (isSecret ? O_EXCL : O_TRUNC)
            let descriptor = try openFile(path, flags, isSecret ? 0o600 : 0o666)
            let failure = writeAll(bytes, to: descriptor)
            let isClosed = close(descriptor) == 0
            if let failure { throw failure }
            if !isClosed { throw Errno(rawValue: errno) }
        } catch {
            guard isSecret, error == .fileExists else { throw writeFailure(path, error) }
            throw JourneyError(
                .failed, kind: "already_exists",
                "\(PathText.display(path)) exists already, and a private key replaces no file: name another one, or move that one away",
                cause: error)
        }
    }

    /// A new file, open for writing, which errors call `name`. Fails where there is one.
    package static func create(_ path: [UInt8], as name: [UInt8]) throws(JourneyError) -> CInt {
        do throws(Errno) { return try openFile(path, O_WRONLY | O_CREAT | O_EXCL, 0o666) } catch {
            throw writeFailure(name, error)
        }
    }

    /// The error for a file that takes no more; the system's reason is the present `errno` unless another is given.
    package static func writeFailure(_ path: [UInt8], _ reason: Errno = Errno(rawValue: errno)) -> JourneyError {
        let isFull = reason == .noSpace || reason == .diskQuotaExceeded
        let remedy =
            switch reason {
            case .noSpace, .diskQuotaExceeded: "; free some space, or name a file elsewhere"
            case .noSuchFileOrDirectory: "; make the directory that it is to be in, or name another file"
            default: ""
            }
        return JourneyError(
            isFull ? .noSpace : .failed, kind: isFull ? "no_space" : "unwritable_file",
            "cannot write \(PathText.display(path)): \(reason)\(remedy)", cause: reason)
    }

    /// Closes a file that was written; false when the system has lost what it had taken.
    package static func closeWritten(_ descriptor: CInt) -> Bool { close(descriptor) == 0 }

    /// Removes a file; one that is gone is fine.
    package static func remove(_ path: [UInt8]) { unlink(terminated(path)) }

    /// The path as C takes it.
    private static func terminated(_ path: [UInt8]) -> [CChar] { path.map { CChar(bitPattern: $0) } + [0] }

    private static func openFile(_ path: [UInt8], _ flags: CInt, _ mode: mode_t = 0) throws(Errno) -> CInt {
        guard !path.contains(0) else { throw .invalidArgument }
        let descriptor = systemOpen(terminated(path), flags | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw Errno(rawValue: errno) }
        return descriptor
    }

    /// Makes a directory and its parents, for their owner alone.
    package static func makeDirectories(_ path: FilePath) throws(JourneyError) {
        var made = FilePath()
        made.root = path.root
        for component in path.components {
            made.append(component)
            if mkdir(made.string, 0o700) != 0, errno != EEXIST {
                let failure = Errno(rawValue: errno)
                throw JourneyError(
                    .failed, kind: "unwritable_directory", "cannot make the directory \(made): \(failure)",
                    cause: failure)
            }
        }
    }

    /// Gives a file another name, in place of what has that name; errors name that.
    package static func rename(_ from: [UInt8], to: [UInt8]) throws(JourneyError) {
        guard systemRename(terminated(from), terminated(to)) == 0 else { throw writeFailure(to) }
    }

    /// The names in a directory, in order, without `.` and `..`; nil when it is none or cannot be read.
    package static func names(in path: [UInt8]) -> [[UInt8]]? {
        guard !path.contains(0), let stream = opendir(terminated(path)) else { return nil }
        defer { closedir(stream) }
        var names: [[UInt8]] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { return nil }
                return names.sorted { $0.lexicographicallyPrecedes($1) }
            }
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return nil }
            let text = (UnsafeRawPointer(entry) + offset).assumingMemoryBound(to: CChar.self)
            let name = Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
            if name != Array(".".utf8), name != Array("..".utf8) { names.append(name) }
        }
    }

    /// The path without links and `..`, or nil when it does not exist.
    package static func canonical(_ path: [UInt8]) -> [UInt8]? {
        guard !path.contains(0) else { return nil }
        guard let resolved = realpath(terminated(path), nil) else { return nil }
        defer { free(resolved) }
        return Array(UnsafeRawBufferPointer(start: resolved, count: strlen(resolved)))
    }

    /// The path as a `FilePath`, as far as its first zero byte.
    package static func filePath(_ path: [UInt8]) -> FilePath {
        (path.prefix { $0 != 0 }.map { CChar(bitPattern: $0) } + [0]).withUnsafeBufferPointer { text in
            text.baseAddress.map { FilePath(platformString: $0) } ?? FilePath()
        }
    }
}

// Under names of their own: those of the C library are hidden by the members above.
private func systemWrite(_ descriptor: CInt, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}

private func systemRead(_ descriptor: CInt, _ bytes: UnsafeMutableRawPointer, _ count: Int) -> Int {
    read(descriptor, bytes, count)
}

private func systemOpen(_ path: UnsafePointer<CChar>, _ flags: CInt, _ mode: mode_t) -> CInt {
    open(path, flags, mode)
}

private func systemRename(_ from: [CChar], _ to: [CChar]) -> CInt { rename(from, to) }
