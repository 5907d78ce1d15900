internal import Basics
internal import SystemPackage

/// Reads small files, on a thread of its own.
enum KeyFile {
    /// The file's bytes. `what` it is begins the message of the error, whose code is `invalidArgument` for a missing file and
    /// `failed` for any other reason.
    static func read(_ path: String, _ what: String, maximumBytes: Int = 64 << 10) async throws(VeleroError) -> [UInt8]
    {
        let bytes: [UInt8]
        do {
            bytes = try await BlockingBridge.offload(name: "read-key") {
                Result { try read(FilePath(path), limit: maximumBytes + 1) }
            }
        } catch Errno.noSuchFileOrDirectory, Errno.notDirectory {
            throw VeleroError(.invalidArgument, "\(what) \(path) does not exist")
        } catch {
            throw VeleroError(.failed, "\(what) \(path) cannot be read: \(error)", cause: error)
        }
        guard bytes.count <= maximumBytes else {
            throw VeleroError(.invalidArgument, "\(what) \(path) has more than \(maximumBytes) bytes")
        }
        return bytes
    }

    private static func read(_ path: FilePath, limit: Int) throws -> [UInt8] {
        let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec])
        return try file.closeAfter {
            var bytes: [UInt8] = []
            var block = [UInt8](repeating: 0, count: 16 << 10)
            while bytes.count < limit {
                let count = try block.withUnsafeMutableBytes { try file.read(into: $0) }
                if count == 0 { break }
                bytes += block.prefix(count)
            }
            return bytes
        }
    }
}
