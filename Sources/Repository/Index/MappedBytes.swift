internal import Basics
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Bytes of an index segment: a file mapped read-only, or memory when there is no cache directory.
///
/// The mapping lives as long as the object. The file may be unlinked meanwhile, never truncated: cache files are
/// written under another name and renamed.
final class MappedBytes: @unchecked Sendable {
    let bytes: UnsafeRawBufferPointer
    private let buffer: Buffer?

    /// Maps the whole file at `path`. Throws `Errno`.
    init(path: FilePath) throws(Errno) {
        let file: FileDescriptor
        do { file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec) } catch let error as Errno {
            throw error
        } catch { throw .ioError }
        defer { try? file.close() }
        let size: Int64
        do { size = try file.seek(offset: 0, from: .end) } catch let error as Errno { throw error } catch {
            throw .ioError
        }
        guard size > 0 else { throw .invalidArgument }
        guard let base = mmap(nil, Int(size), PROT_READ, MAP_PRIVATE, file.rawValue, 0), base != MAP_FAILED else {
            throw Errno(rawValue: errno)
        }
        bytes = UnsafeRawBufferPointer(start: base, count: Int(size))
        buffer = nil
    }

    /// Bytes that stay in memory.
    init(_ buffer: Buffer) {
        self.buffer = buffer
        bytes = buffer.bytes
    }

    deinit {
        if buffer == nil, let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) }
    }
}
