import Basics
import Glibc
import Snapshots
import SystemPackage

/// A new directory that goes, with everything in it, when the last reference does.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/becalm-files-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Errno(rawValue: errno) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = try? shell("chmod -R u+rwx . || true; cd /; rm -rf '\(path)'", in: path) }

    var bytes: [UInt8] { Array(path.utf8) }

    func handle(_ name: String = "") throws -> DirectoryHandle {
        try DirectoryHandle.open(path: Array((name.isEmpty ? path : path + "/" + name).utf8))
    }

    func target(_ name: String) throws -> RestoreTarget {
        try RestoreTarget.open(path: Array((path + "/" + name).utf8), create: true)
    }

    func write(_ name: String, _ content: [UInt8]) throws {
        let file = try FileDescriptor.open(
            FilePath(path + "/" + name), .writeOnly, options: [.create, .truncate],
            permissions: FilePermissions(rawValue: 0o644))
        try file.closeAfter { _ = try file.writeAll(content) }
    }
}

struct CommandFailed: Error {
    var script: String
    var status: CInt
    var output: String
}

/// Runs `script` with a shell in `directory` and answers what it wrote; throws when it failed.
@discardableResult
func shell(_ script: String, in directory: String) throws -> String {
    let prefix = "export LC_ALL=C PATH=/usr/sbin:/sbin:/usr/bin:/bin; set -e"
    var launch = ProcessLaunch(["/bin/sh", "-c", "\(prefix); cd '\(directory)'; \(script)"], environment: [:])
    let pipe = try Pipe()
    let process = try pipe.handingOverWriter { writer throws(Errno) in
        (launch.output, launch.error) = (.descriptor(writer), .descriptor(writer))
        return try launch.start()
    }
    let output = try pipe.readToEnd()
    let status = try ChildProcess.end(of: process)
    let text = String(decoding: output, as: UTF8.self)
    guard status == 0 else { throw CommandFailed(script: script, status: status, output: text) }
    return text
}

/// What these tests may do here.
enum Privilege {
    static var isRoot: Bool { geteuid() == 0 }

    /// Whether this process may mount a tmpfs.
    static let mayMount: Bool = {
        guard isRoot, let directory = try? TemporaryDirectory() else { return false }
        return (try? shell("mkdir m && mount -t tmpfs none m && umount m", in: directory.path)) != nil
    }()
}

extension String {
    /// The bytes of the text.
    var bytes: [UInt8] { Array(utf8) }
}

/// The code of the error that `body` throws; nil when it throws none or another.
func code(_ body: () throws -> Void) -> SnapshotError.Code? {
    do {
        try body()
        return nil
    } catch {
        return (error as? SnapshotError)?.code
    }
}

func makeFile(_ directory: DirectoryHandle, _ name: String, _ content: String) throws {
    let writer = try FileWriter.create(in: directory, name: name.bytes)
    try content.bytes.withUnsafeBytes { try writer.write(at: 0, from: $0) }
    try writer.close()
}

func content(_ reader: FileReader, _ count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xee, count: count)
    let read = try bytes.withUnsafeMutableBytes { try reader.read(at: 0, into: $0) }
    return Array(bytes[..<read])
}

/// Runs `body` on a thread of its own that acts on files as the user and group `id`, without privileges over files.
///
/// The kernel keeps this identity per thread (setfsuid(2)); the function is not in Swift's overlay.
func asUser<R: Sendable>(_ id: UInt32, _ body: @escaping @Sendable () throws -> R) async throws -> R {
    typealias SetIdentity = @convention(c) (UInt32) -> CInt
    return try await BlockingBridge.offload(name: "user-\(id)") {
        for function in ["setfsgid", "setfsuid"] {
            guard let symbol = dlsym(nil, function) else { return .failure(Errno.noFunction) }
            let set = unsafeBitCast(symbol, to: SetIdentity.self)
            _ = set(id)
            guard set(.max) == CInt(id) else { return .failure(Errno.notPermitted) }
        }
        return Result { try body() }
    }
}
