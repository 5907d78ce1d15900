import Basics
import ObjectStorageTesting
import Repository
import RepositoryFormat
import SystemPackage
import Testing

@testable import Snapshots

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A block device of a test's own: a file that the kernel's loop driver presents as one. Goes with the last reference.
private final class LoopDevice: Sendable {
    private let directory: TemporaryDirectory
    let path: String
    var bytes: [UInt8] { path.bytes }
    /// The file behind it.
    var file: FilePath { FilePath(directory.path + "/backing") }

    init(size: Int) throws {
        directory = try TemporaryDirectory()
        try shell("truncate -s \(size) backing", in: directory.path)
        let output = try shell("losetup --find --show backing", in: directory.path)
        path = output.split(whereSeparator: \.isWhitespace).joined()
    }

    deinit { _ = try? shell("losetup --detach '\(path)'", in: "/") }

    func write(_ content: [UInt8], at offset: Int) throws {
        let device = try FileDescriptor.open(FilePath(path), .writeOnly, options: .closeOnExec)
        try device.closeAfter { _ = try device.writeAll(toAbsoluteOffset: Int64(offset), content) }
    }

    func read() throws -> [UInt8] { try SourceTree.read(FilePath(path)) }

    /// Whether there can be one here: root, and a kernel that has the driver.
    static let isPossible: Bool = {
        guard Privilege.isRoot else { return false }
        return (try? LoopDevice(size: 1 << 20)) != nil
    }()
}

@Suite("Block devices", .enabled(if: LoopDevice.isPossible), .serialized)
struct LoopDeviceTests {
    private static let size = DeviceTests.image().count

    private static func device() throws -> LoopDevice {
        let device = try LoopDevice(size: size)
        try device.write(DeviceTests.image(), at: 0)
        return device
    }

    private static func name(_ device: LoopDevice) -> String { FilePath(device.path).lastComponent?.string ?? "" }

    @Test("A device that is named is stored with its bytes, and goes onto another one; what changed adds only that")
    func roundTrip() async throws {
        let world = try await JoinWorld()
        let device = try Self.device()
        let first = try await world.backUp([device.bytes])
        #expect(first.manifest.problems.isEmpty, "\(first.manifest.problems)")
        let entry = try #require(try await world.entries(first.snapshot)[Self.name(device)])
        #expect(entry.metadata.type == .regular && entry.metadata.size == UInt64(Self.size))
        #expect(entry.metadata.isDeviceContent && entry.metadata.deviceNumber > FileMetadata.imageDeviceNumber)

        let other = try LoopDevice(size: Self.size)
        try other.write([UInt8](repeating: 0x5a, count: Self.size), at: 0)
        let restored = try await world.restore(first.snapshot, to: FilePath(other.path)) { $0.overwrite = .ifChanged }
        #expect(restored.verified == 1 && restored.failed.isEmpty)
        #expect(try other.read() == DeviceTests.image())

        let same = try await world.backUp([device.bytes])
        // All of it is read, for nothing else tells what changed; a page of the tree may be new.
        #expect(same.counters.bytesRead > 8 << 20 && same.counters.bytesNew < 64 << 10, "\(same.counters)")
        try device.write([9], at: 7 * DeviceTests.piece + 3)
        let changed = try await world.backUp([device.bytes])
        #expect(changed.counters.bytesNew >= 1 << 20 && changed.counters.bytesNew < (1 << 20) + (64 << 10))
        let mended = try await world.restore(changed.snapshot, to: FilePath(other.path)) { $0.resume = true }
        #expect(mended.bytesWritten == 1 << 20)
        #expect(try other.read() == device.read())
    }

    @Test("A symbolic link to a device that is named leads to its bytes; a device in a directory stays a name")
    func links() async throws {
        let world = try await JoinWorld()
        let device = try Self.device()
        let tree = try SourceTree("run", [("disk", "->\(device.path)")])
        let major = try shell("stat -c '0x%t 0x%T' '\(device.path)'", in: "/").split(whereSeparator: \.isWhitespace)
        try shell("mknod node b $((\(major[0]))) $((\(major[1])))", in: tree.path.string)
        let named = try await world.backUp([tree.bytes + "/disk".bytes])
        #expect(try await world.entries(named.snapshot)["disk"]?.metadata.isDeviceContent == true)
        #expect(named.manifest.totals.bytes == UInt64(Self.size))
        let inside = try await world.entries(try await world.backUp([tree.bytes]).snapshot)
        #expect(inside["run/disk"]?.metadata.type == .symbolicLink && inside["run/node"]?.metadata.type == .blockDevice)
    }

    @Test("A device that something holds is not written to but by force, and a backup of it says so")
    func inUse() async throws {
        let world = try await JoinWorld()
        let device = try Self.device()
        let made = try await world.backUp([device.bytes])
        let held = open(device.path, O_RDONLY | O_EXCL | O_CLOEXEC)
        try #require(held >= 0)
        defer { close(held) }
        let error = await #expect(throws: SnapshotError.self) {
            try await world.restore(made.snapshot, to: FilePath(device.path)) { $0.overwrite = .always }
        }
        #expect(error?.code == .refusedPath && error?.message.contains("--force") == true, "\(error.debugDescription)")
        let forced = try await world.restore(made.snapshot, to: FilePath(device.path)) {
            ($0.overwrite, $0.writesInUse) = (.always, true)
        }
        #expect(forced.failed.isEmpty && forced.bytesWritten == UInt64(Self.size))
        let again = try await world.backUp([device.bytes])
        #expect(again.manifest.problems.contains { $0.message.contains("is mounted, or something else holds it") })
    }

    @Test("What of a device cannot be read is said with its place, and no snapshot is made of the rest")
    func unreadable() async throws {
        let world = try await JoinWorld()
        let device = try Self.device()
        // The driver answers what lies behind the end of its file with an error of input and output.
        let file = try FileDescriptor.open(device.file, .readWrite)
        try file.closeAfter { try file.resize(to: Int64(8 * DeviceTests.piece + 8192)) }
        try shell("blockdev --flushbufs '\(device.path)'", in: "/")
        let error = await #expect(throws: SnapshotError.self) { try await world.backUp([device.bytes]) }
        #expect(error?.code == .sourceUnreadable, "\(error.debugDescription)")
        #expect(error?.message.contains("from \(8 * DeviceTests.piece + 8192) on") == true, "\(error?.message ?? "")")
    }

    @Test("A device in which nothing is, is no source")
    func empty() async throws {
        let world = try await JoinWorld()
        let device = try Self.device()
        try shell("losetup --detach '\(device.path)'", in: "/")
        let error = await #expect(throws: SnapshotError.self) { try await world.backUp([device.bytes]) }
        #expect(error?.code == .sourceUnreadable, "\(error.debugDescription)")
        #expect(error?.message.contains("of no bytes") == true)
    }

    @Test("A device that is smaller is refused before anything is written")
    func smaller() async throws {
        let world = try await JoinWorld()
        let device = try Self.device()
        let made = try await world.backUp([device.bytes])
        let small = try LoopDevice(size: Self.size - 512)
        let error = await #expect(throws: SnapshotError.self) {
            try await world.restore(made.snapshot, to: FilePath(small.path)) { $0.overwrite = .always }
        }
        #expect(error?.code == .noSpace, "\(error.debugDescription)")
        #expect(try small.read().allSatisfy { $0 == 0 })
    }

    @Test("Onto a device goes one file: patterns, directories and snapshots of other things are refused")
    func others() async throws {
        let world = try await JoinWorld()
        let device = try Self.device()
        let tree = try SourceTree("run", [("a", "1")])
        let made = try await world.backUp([tree.bytes])
        for change: @Sendable (inout RestoreRequest) -> Void in [
            { _ in }, { $0.from = JoinWorld.components("run") }, { $0.from = JoinWorld.components("run/a") },
            { $0.includes = ["a"] },
        ] {
            let error = await #expect(throws: SnapshotError.self) {
                try await world.restore(made.snapshot, to: FilePath(device.path)) {
                    $0.overwrite = .always
                    change(&$0)
                }
            }
            #expect(error?.code == .invalidArgument, "\(error.debugDescription)")
        }
        #expect(try device.read() == DeviceTests.image())
    }
}
