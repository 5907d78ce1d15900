internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Copies the running executable into a directory: what an init container does that has no shell and no `cp`.
package enum SelfInstaller {
    /// Why it could not: one line.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// The running executable, as the system names it where there is a `/proc`, else `called`: how it was called.
    package static func ownExecutable(called: String) -> String {
        access("/proc/self/exe", R_OK) == 0 ? "/proc/self/exe" : called
    }

    /// Writes the executable as `name` into `directory`, for everyone to run, and returns its path. Blocks.
    ///
    /// It appears whole or not at all, and the half-written one has no execute bit: Velero runs every file below its
    /// plugins' directory that has one.
    package static func install(
        executable: String, as name: String, into directory: String
    ) throws(Failure) -> String {
        let target = FilePath(directory).appending(name)
        let temporary = FilePath(directory).appending(".\(name).new")
        do {
            try copy(FilePath(executable), to: temporary)
        } catch {
            _ = unlink(temporary.string)
            throw Failure(description: "cannot write \(temporary) from \(executable): \(error)")
        }
        guard rename(temporary.string, target.string) == 0 else {
            let problem = Errno(rawValue: errno)
            _ = unlink(temporary.string)
            throw Failure(description: "cannot give \(temporary) its name \(target): \(problem)")
        }
        return target.string
    }

    private static func copy(_ source: FilePath, to target: FilePath) throws {
        let input = try FileDescriptor.open(source, .readOnly, options: .closeOnExec)
        defer { try? input.close() }
        let output = try FileDescriptor.open(
            target, .writeOnly, options: [.create, .truncate, .closeOnExec],
            permissions: [.ownerReadWrite, .groupRead, .otherRead])
        defer { try? output.close() }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        while true {
            let count = try input.read(into: buffer)
            if count == 0 { break }
            try output.writeAll(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
        guard fsync(output.rawValue) == 0, fchmod(output.rawValue, 0o755) == 0 else { throw Errno(rawValue: errno) }
    }
}
