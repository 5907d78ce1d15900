internal import Basics
internal import SystemPackage

/// Reads files of configuration, keys and tokens, on a thread of its own.
enum SmallFile {
    /// Bytes that such a file may have.
    static let maximumBytes = 1 << 20

    private struct TooLarge: Error, CustomStringConvertible {
        var description: String { "it has more than \(SmallFile.maximumBytes) bytes" }
    }

    /// The file's bytes, or nil when there is no such file. Throws `.configuration` when it cannot be read.
    static func readIfPresent(_ path: String) async throws(KubernetesError) -> [UInt8]? {
        do {
            return try await BlockingBridge.offload(name: "read-settings") { Result { try read(FilePath(path)) } }
        } catch Errno.noSuchFileOrDirectory, Errno.notDirectory {
            return nil
        } catch {
            throw KubernetesError(.configuration, "cannot read \(path): \(error)", cause: error)
        }
    }

    /// The file's bytes; `what` it is begins the message when it is not there.
    static func read(_ path: String, _ what: String) async throws(KubernetesError) -> [UInt8] {
        guard let bytes = try await readIfPresent(path) else {
            throw KubernetesError(.configuration, "\(what): there is no file \(path); mount it or correct its path")
        }
        return bytes
    }

    private static func read(_ path: FilePath) throws -> [UInt8] {
        let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec])
        return try file.closeAfter {
            var bytes: [UInt8] = []
            var block = [UInt8](repeating: 0, count: 16 << 10)
            while true {
                let count = try block.withUnsafeMutableBytes { try file.read(into: $0) }
                if count == 0 { return bytes }
                bytes += block.prefix(count)
                guard bytes.count <= maximumBytes else { throw TooLarge() }
            }
        }
    }
}
