import ObjectStorageTesting
import Snapshots
import SystemPackage

/// A directory of files to back up, removed when the last reference goes.
final class SourceTree: Sendable {
    private let directory: ObjectStorageTesting.TemporaryDirectory
    /// The directory to back up.
    let path: FilePath

    /// An empty directory called `name`.
    init(_ name: String = "run") throws {
        directory = try ObjectStorageTesting.TemporaryDirectory()
        path = directory.path.appending(name)
        try Self.makeDirectory(path)
    }

    /// The path as a backup request names it.
    var bytes: [UInt8] { Array(path.string.utf8) }

    /// Writes `content` to the file `name`, replacing what is there.
    func write(_ name: String, _ content: [UInt8]) throws {
        let file = try FileDescriptor.open(
            path.appending(name), .writeOnly, options: [.create, .truncate], permissions: [.ownerReadWrite])
        try file.closeAfter { _ = try file.writeAll(content) }
    }

    static func makeDirectory(_ path: FilePath) throws {
        let parent = try DirectoryHandle.open(path: Array(path.removingLastComponent().string.utf8))
        _ = try parent.makeDirectory(name: Array((path.lastComponent?.string ?? "").utf8))
    }

    /// All bytes of a file.
    static func read(_ path: FilePath) throws -> [UInt8] {
        let file = try FileDescriptor.open(path, .readOnly)
        return try file.closeAfter {
            let count = Int(try file.seek(offset: 0, from: .end))
            try file.seek(offset: 0, from: .start)
            return try [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
                while initialized < count {
                    let rest = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[initialized...])
                    let read = try file.read(into: rest)
                    if read == 0 { break }
                    initialized += read
                }
            }
        }
    }
}
