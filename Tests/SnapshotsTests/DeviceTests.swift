import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Sealing
import SystemPackage
import Testing

@testable import Snapshots

/// Images of devices, as files: the same code reads and writes devices.
@Suite("Images of devices")
struct DeviceTests {
    static let piece = 1 << 20

    /// An image of 12 pieces and three sectors: noise, a run of zeros from the middle of one piece to the middle of another,
    /// and a piece that stands twice.
    static func image() -> [UInt8] {
        var bytes = SourceTree.noise(12 * piece + 3 * 512, seed: 4)
        bytes.replaceSubrange(2 * piece + 1000..<6 * piece + 17, with: repeatElement(0, count: 4 * piece - 983))
        bytes.replaceSubrange(9 * piece..<10 * piece, with: bytes[8 * piece..<9 * piece])
        return bytes
    }

    private static func backUp(_ world: JoinWorld, _ tree: SourceTree) async throws -> BackupResult {
        try await world.backUp([Array(tree.path.appending("disk").string.utf8)]) { $0.readsAsDevices = true }
    }

    /// A file to write an image into, filled with something else.
    private static func target(_ directory: ObjectStorageTesting.TemporaryDirectory, size: Int) throws -> FilePath {
        let path = directory.path.appending("target")
        let file = try FileDescriptor.open(
            path, .writeOnly, options: [.create, .truncate], permissions: [.ownerReadWrite])
        try file.closeAfter { _ = try file.writeAll([UInt8](repeating: 0xa5, count: size)) }
        return path
    }

    private func items(_ world: JoinWorld, _ id: Identifier) async throws -> [ContentItem] {
        let entry = try #require(try await world.entries(id)["disk"])
        #expect(entry.metadata.isDeviceContent)
        guard case .inline(let items)? = entry.content else { return [] }
        return items
    }

    @Test("Pieces are cut at multiples of 1 MiB, zeros are holes, and only pieces that changed are stored again")
    func pieces() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree()
        var image = Self.image()
        try tree.write("disk", image)
        let first = try await Self.backUp(world, tree)
        let items = try await items(world, first.snapshot)
        let mebibyte = UInt64(Self.piece)
        #expect(items.map(\.length) == [1, 1, 1, 3, 1, 1, 1, 1, 1, 1].map { $0 * mebibyte } + [3 * 512])
        #expect(items.filter { if case .hole = $0 { true } else { false } } == [.hole(3 * mebibyte)])
        #expect(first.manifest.totals.bytes == UInt64(image.count))
        // Twice the same piece counts once.
        #expect(first.counters.bytesNew <= 8 * mebibyte + 3 * 512 + (64 << 10))

        image[5] ^= 1
        image[7 * Self.piece] ^= 1
        image.replaceSubrange(10 * Self.piece..<11 * Self.piece, with: repeatElement(0, count: Self.piece))
        try tree.write("disk", image)
        let second = try await Self.backUp(world, tree)
        #expect(second.counters.bytesNew >= 2 * mebibyte && second.counters.bytesNew <= 2 * mebibyte + (64 << 10))
        #expect(second.counters.bytesRead > 6 * mebibyte)
    }

    @Test("What comes back is the image, with and without the file's SHA-256", arguments: [true, false])
    func roundTrip(digests: Bool) async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree()
        try tree.write("disk", Self.image())
        let made = try await world.backUp([Array(tree.path.appending("disk").string.utf8)]) {
            ($0.readsAsDevices, $0.fileDigests) = (true, digests)
        }
        let directory = try ObjectStorageTesting.TemporaryDirectory()
        let target = try Self.target(directory, size: Self.image().count)
        let result = try await world.restore(made.snapshot, to: target) { $0.overwrite = .ifChanged }
        #expect(result.verified == 1 && result.failed.isEmpty && result.damaged.isEmpty && result.remarks.isEmpty)
        #expect(result.bytesWritten == UInt64(Self.image().count) && result.files == 1)
        #expect(result.contentDigest == made.manifest.contentDigest && (result.contentDigest != nil) == digests)
        #expect(try SourceTree.read(target) == Self.image())
        // As a file in a directory it is the same, with a hole.
        let files = directory.path.appending("files")
        _ = try await world.restore(made.snapshot, to: files) { $0.verify = digests }
        #expect(try SourceTree.read(files.appending("disk")) == Self.image())
    }

    @Test(
        "A second restore writes nothing, and one over what changed writes only that; all of it where that is asked for"
    )
    func comparing() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree()
        try tree.write("disk", Self.image())
        let made = try await Self.backUp(world, tree)
        let directory = try ObjectStorageTesting.TemporaryDirectory()
        let target = try Self.target(directory, size: Self.image().count)
        _ = try await world.restore(made.snapshot, to: target) { $0.resume = true }
        let again = try await world.restore(made.snapshot, to: target) { $0.resume = true }
        #expect(again.bytesWritten == 0 && again.verified == 1)
        let file = try FileDescriptor.open(target, .writeOnly)
        try file.closeAfter {
            _ = try file.writeAll(toAbsoluteOffset: 3, [1, 2, 3])
            _ = try file.writeAll(toAbsoluteOffset: Int64(4 * Self.piece + 9), [7])
        }
        let mended = try await world.restore(made.snapshot, to: target) { $0.overwrite = .ifChanged }
        // One piece, and the hole that the other byte was in.
        #expect(mended.bytesWritten == UInt64(4 * Self.piece))
        #expect(try SourceTree.read(target) == Self.image())
        let all = try await world.restore(made.snapshot, to: target) { $0.overwrite = .always }
        #expect(all.bytesWritten == UInt64(Self.image().count))
        #expect(try SourceTree.read(target) == Self.image())
    }

    @Test("What is smaller is refused before anything is written, with both sizes; of what is larger the rest stays")
    func sizes() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree()
        try tree.write("disk", Self.image())
        let made = try await Self.backUp(world, tree)
        let directory = try ObjectStorageTesting.TemporaryDirectory()
        let (size, small) = (Self.image().count, Self.image().count - 512)
        let target = try Self.target(directory, size: small)
        let error = await #expect(throws: SnapshotError.self) {
            try await world.restore(made.snapshot, to: target) { $0.overwrite = .always }
        }
        #expect(error?.code == .noSpace, "\(error.debugDescription)")
        #expect(error?.message.contains("\(small)") == true && error?.message.contains("\(size)") == true)
        #expect(try SourceTree.read(target) == [UInt8](repeating: 0xa5, count: small))

        _ = try Self.target(directory, size: size + 1024)
        let result = try await world.restore(made.snapshot, to: target) { $0.overwrite = .ifChanged }
        #expect(result.remarks.contains { $0.message.contains("1024 bytes larger") }, "\(result.remarks)")
        #expect(try SourceTree.read(target) == Self.image() + [UInt8](repeating: 0xa5, count: 1024))
    }

    @Test("Nothing is overwritten that nobody has allowed to be")
    func refusals() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree()
        try tree.write("disk", Self.image())
        let made = try await Self.backUp(world, tree)
        let directory = try ObjectStorageTesting.TemporaryDirectory()
        let target = try Self.target(directory, size: Self.image().count)
        let ways: [(RestoreRequest.Overwrite?, SnapshotError.Code)] = [
            (nil, .targetNotEmpty), (.never, .invalidArgument),
        ]
        for (overwrite, code) in ways {
            let error = await #expect(throws: SnapshotError.self) {
                try await world.restore(made.snapshot, to: target) { $0.overwrite = overwrite }
            }
            #expect(error?.code == code)
        }
        #expect(try SourceTree.read(target) == [UInt8](repeating: 0xa5, count: Self.image().count))
        // A file that is no image does not go into a file.
        try tree.write("plain", [1, 2, 3])
        let other = try await world.backUp([Array(tree.path.appending("plain").string.utf8)])
        let error = await #expect(throws: SnapshotError.self) {
            try await world.restore(other.snapshot, to: target) { $0.overwrite = .always }
        }
        #expect(error?.code == .notADirectory)
    }

    @Test("A restore that broke off goes on: what it had written is not written again")
    func resuming() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree()
        let image = SourceTree.noise(80 * Self.piece, seed: 9)
        try tree.write("disk", image)
        let made = try await Self.backUp(world, tree)
        let directory = try ObjectStorageTesting.TemporaryDirectory()
        let target = try Self.target(directory, size: image.count)
        // Several ranges of packs are read; the last ones fail for good.
        world.store.inject(.fail(.accessDenied), at: 4, times: 1000) { request in
            request.operation == .get && request.key.hasPrefix("data/")
        }
        let broken: (any Error)?
        do {
            _ = try await world.restore(made.snapshot, to: target) { $0.resume = true }
            broken = nil
        } catch {
            broken = error
        }
        world.store.heal()
        #expect(broken != nil)
        let half = try SourceTree.read(target)
        let kept = stride(from: 0, to: image.count, by: Self.piece).count {
            half[$0..<$0 + Self.piece] == image[$0..<$0 + Self.piece]
        }
        #expect(kept > 0 && kept < 80, "\(kept)")
        let rest = try await world.restore(made.snapshot, to: target) { $0.resume = true }
        #expect(rest.bytesWritten == UInt64((80 - kept) * Self.piece) && rest.verified == 1)
        #expect(try SourceTree.read(target) == image)
    }

    @Test("An image joins others as a file at its place, and comes back from there alone")
    func joining() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree()
        try tree.write("disk", Self.image())
        let files = try SourceTree("volume", [("a", "1"), ("b/c", "2")])
        let parts = [try await Self.backUp(world, tree), try await world.backUp([files.bytes])]
        let joined = try await world.join([
            JoinWorld.part(parts[0], from: "disk", at: "volumes/ns/raw"),
            JoinWorld.part(parts[1], from: "volume", at: "volumes/ns/data"),
        ])
        try await world.forget(joined.parts)
        try await world.verify()
        let entries = try await world.entries(joined.snapshot)
        #expect(entries["volumes/ns/raw"]?.metadata.isDeviceContent == true && entries["volumes/ns/data/b/c"] != nil)
        #expect(joined.manifest.totals.files == 3)
        let directory = try ObjectStorageTesting.TemporaryDirectory()
        let target = try Self.target(directory, size: Self.image().count)
        _ = try await world.restore(joined.snapshot, to: target) {
            ($0.from, $0.resume) = (JoinWorld.components("volumes/ns/raw"), true)
        }
        #expect(try SourceTree.read(target) == Self.image())
        let clash = await #expect(throws: SnapshotError.self) {
            try await world.join([
                JoinWorld.part(try await Self.backUp(world, tree), from: "disk", at: "x"),
                JoinWorld.part(try await world.backUp([files.bytes]), from: "volume", at: "x"),
            ])
        }
        #expect(clash?.code == .alreadyExists)
        let nowhere = await #expect(throws: SnapshotError.self) {
            try await world.join([JoinWorld.part(try await Self.backUp(world, tree), from: "disk", at: "")])
        }
        #expect(nowhere?.code == .invalidArgument)
    }

    @Test("A backup of an image that was interrupted goes on behind its holes", arguments: [true, false])
    func interrupted(digests: Bool) async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree()
        var image = SourceTree.noise(80 * Self.piece, seed: 10)
        image.replaceSubrange(4 * Self.piece..<24 * Self.piece, with: repeatElement(0, count: 20 * Self.piece))
        try tree.write("disk", image)
        var request = BackupRequest(
            paths: [Array(tree.path.appending("disk").string.utf8)], host: "h", user: "u", program: "test")
        (request.readsAsDevices, request.fileDigests) = (true, digests)
        let progress = OperationProgress()
        // When the first pack is full, which is after the holes.
        world.store.inject(.fail(.failed)) { request in
            if request.operation == .put, request.key.hasPrefix("data/") { progress.cancel() }
            return false
        }
        await #expect(throws: RepositoryError.self) {
            _ = try await BackupOperation(
                repository: try await world.reopened(), request: request, progress: progress
            ).run()
        }
        world.store.heal()
        #expect(try await world.memory.listAll(prefix: "journal/").count == 1)
        let rest = try await BackupOperation(
            repository: try await world.reopened(), request: request, progress: OperationProgress()
        ).run()
        // Holes do not count; in front of them are 4 pieces, and a pack's worth is behind them.
        #expect(rest.counters.bytesRead <= UInt64(52 * Self.piece), "\(rest.counters)")
        #expect(try await world.memory.listAll(prefix: "journal/").isEmpty)
        let items = try await items(world, rest.snapshot)
        #expect(items.filter { if case .hole = $0 { true } else { false } } == [.hole(UInt64(20 * Self.piece))])
        #expect(items.count == 61)
        let directory = try ObjectStorageTesting.TemporaryDirectory()
        let target = try Self.target(directory, size: image.count)
        let result = try await world.restore(rest.snapshot, to: target) { $0.overwrite = .always }
        #expect(result.damaged.isEmpty && result.failed.isEmpty)
        #expect(try SourceTree.read(target) == image)
    }

    @Test("Pieces that become known in any order are listed in the file's, with one hole for those side by side")
    func order() {
        var random = SystemRandomNumberGenerator()
        let id = ChunkID(SHA256State.digest(of: [1]))
        for joins in [true, false] {
            var list = FileItems([.hole(1)], joinsHoles: joins)
            var all: [ContentItem] = [.hole(1)]
            var waiting: [(Int, ContentItem)] = []
            for number in 0..<20_000 {
                let item: ContentItem =
                    number % 3 == 0
                    ? .chunk(id, length: UInt32(number + 1)) : .hole(UInt64(number))
                all.append(item)
                if number % 7 == 0 {
                    list.append(item)
                } else {
                    waiting.append((list.reserve(), item))
                    #expect(!list.isSettled)
                }
                // As threads would: some way behind, each as it likes.
                while waiting.count > (number < 10_000 ? 50 : 3000) {
                    let (place, item) = waiting.remove(at: Int.random(in: 0..<waiting.count, using: &random))
                    list.settle(place, item)
                }
            }
            for (place, item) in waiting.shuffled() { list.settle(place, item) }
            var expected: [ContentItem] = []
            for item in all {
                if joins, case .hole(let more) = item, case .hole(let length)? = expected.last {
                    expected[expected.count - 1] = .hole(length + more)
                } else {
                    expected.append(item)
                }
            }
            #expect(list.isSettled && list.settled == expected)
            #expect(list.take() == expected && list.settled.isEmpty && list.isSettled)
        }
    }
}
