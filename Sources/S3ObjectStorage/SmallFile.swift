internal import Basics
internal import ObjectStorage
internal import SystemPackage

/// Reads configuration and token files, on a thread of its own.
enum SmallFile {
    /// Bytes that a configuration or token file may have.
    private static let maximumBytes = 1 << 20

    /// The file's text, or nil when there is no such file. Throws `.failed` when it cannot be read.
    static func readIfPresent(_ path: String?) async throws(ObjectStorageError) -> String? {
        guard let path else { return nil }
        do {
            return try await BlockingBridge.offload(name: "read-settings") { Result { try read(FilePath(path)) } }
        } catch Errno.noSuchFileOrDirectory, Errno.notDirectory {
            return nil
        } catch {
            throw ObjectStorageError(.failed, "cannot read \(path): \(error)", cause: error)
        }
    }

    /// The file's text without white space at its ends. Throws `.expiredCredentials` when it cannot be read: the files
    /// hold tokens.
    static func readToken(_ path: String) async throws(ObjectStorageError) -> String {
        let text: String
        do {
            text = try await BlockingBridge.offload(name: "read-token") { Result { try read(FilePath(path)) } }
        } catch {
            throw ObjectStorageError(
                .expiredCredentials, "cannot read the token file \(path): \(error); mount it or correct its path",
                cause: error)
        }
        let token = text.split(whereSeparator: \.isWhitespace)
        guard token.count == 1 else {
            throw ObjectStorageError(.expiredCredentials, "the token file \(path) holds no single token; write it anew")
        }
        return String(token[0])
    }

    private struct TooLarge: Error, CustomStringConvertible {
        var description: String { "it has more than \(SmallFile.maximumBytes) bytes" }
    }

    private static func read(_ path: FilePath) throws -> String {
        let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec])
        return try file.closeAfter {
            var bytes: [UInt8] = []
            var block = [UInt8](repeating: 0, count: 16 << 10)
            while true {
                let count = try block.withUnsafeMutableBytes { try file.read(into: $0) }
                if count == 0 { return String(decoding: bytes, as: UTF8.self) }
                bytes += block.prefix(count)
                guard bytes.count <= maximumBytes else { throw TooLarge() }
            }
        }
    }
}
