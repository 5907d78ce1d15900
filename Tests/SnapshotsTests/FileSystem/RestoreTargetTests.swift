import Basics
import Glibc
import RepositoryFormat
import Snapshots
import Synchronization
import SystemPackage
import Testing

@Suite("Restoring into a directory")
struct RestoreTargetTests {
    private func make(_ directory: TemporaryDirectory, _ name: String = "target") throws -> RestoreTarget {
        try directory.target(name)
    }

    @Test("Directories are made on the way, for their user alone, and found again")
    func directories() throws {
        let directory = try TemporaryDirectory()
        let target = try make(directory, "new/target//x//")
        let names: [[UInt8]] = ["a".bytes, [0xff, 0x0a], "c".bytes]
        let made = try target.directory(names, create: true)
        try makeFile(made, "file", "text")
        #expect(try target.directory(names, create: false) === made)
        #expect(try target.directory([], create: true) === target.root)
        #expect(
            try shell("stat -c '%a %F' new/target/x/a new/target/x", in: directory.path)
                == "700 directory\n700 directory\n")
        #expect(try shell("find new -name file -exec cat {} +", in: directory.path) == "text")
        #expect(code { _ = try target.directory(["a".bytes, "none".bytes], create: false) } == .targetMissing)
        #expect(
            code { _ = try RestoreTarget.open(path: directory.bytes + "/none".bytes, create: false) } == .targetMissing)
        try directory.write("plain", [])
        #expect(
            code { _ = try RestoreTarget.open(path: directory.bytes + "/plain".bytes, create: true) } == .notADirectory)
        #expect(
            code { _ = try RestoreTarget.open(path: directory.bytes + "/plain/x".bytes, create: true) }
                == .notADirectory)
    }

    @Test("The cache keeps a bounded number of directories open and loses none of its answers")
    func cache() throws {
        let directory = try TemporaryDirectory()
        let target = try RestoreTarget.open(path: directory.bytes + "/t".bytes, create: true, openDirectories: 4)
        let before = try openDescriptors()
        for round in 0..<3 {
            for index in 0..<50 {
                let handle = try target.directory(["d\(index)".bytes, "e".bytes], create: true)
                if round == 0 { try makeFile(handle, "f\(index)", "") }
                #expect(try handle.names() == ["f\(index)".bytes])
            }
        }
        // Other tests open files meanwhile: what counts is that 100 directories did not stay open.
        #expect(try openDescriptors(below: directory.path + "/t/") <= 4)
        #expect(before > 0)
        let again = try target.directory(["d49".bytes, "e".bytes], create: false)
        target.forget(["d49".bytes])
        #expect(try target.directory(["d49".bytes, "e".bytes], create: false) !== again)
    }

    private func openDescriptors(below path: String = "/") throws -> Int {
        let handle = try DirectoryHandle.open(path: "/proc/self/fd".bytes)
        let owners = OwnerNames(users: [], groups: [])
        return try handle.names().count { name in
            // A descriptor may be closed by another test between the list and the look.
            let link = try? handle.metadata(of: name, owners: owners, includingExtendedAttributes: false)
            return link?.linkTarget.starts(with: path.utf8) == true
        }
    }

    @Test("Trees deeper than PATH_MAX are written, read and removed")
    func deep() throws {
        let directory = try TemporaryDirectory()
        let target = try make(directory)
        let name = [UInt8](repeating: 0x64, count: 250)
        let components = [[UInt8]](repeating: name, count: 40)
        let handle = try target.directory(components, create: true)
        #expect(handle.path.count > 10_000)
        try makeFile(handle, "deep", "content")
        let metadata = FileMetadata(
            type: .regular, permissions: 0o640, modified: Timestamp(seconds: 5),
            extendedAttributes: [ExtendedAttribute(name: "user.a".bytes, value: [1])])
        let writer = MetadataWriter(owners: OwnerNames(), ownership: .unchanged)
        #expect(writer.apply(metadata, to: "deep".bytes, in: handle) == [])
        var reading = try DirectoryHandle.open(path: directory.bytes + "/target".bytes)
        for component in components { reading = try reading.openDirectory(name: component) }
        #expect(try reading.names() == ["deep".bytes])
        let found = try reading.metadata(of: "deep".bytes, owners: OwnerNames(), includingExtendedAttributes: true)
        #expect(found.extendedAttributes == metadata.extendedAttributes)
        #expect(found.modified == metadata.modified)
        #expect(try content(reading.openFile(name: "deep".bytes), 100) == "content".bytes)
        #expect(code { _ = try DirectoryHandle.open(path: reading.path) } == .refusedPath)
    }

    @Test("A symbolic link in the target is not followed: not as a directory, not as a file")
    func plantedLinks() throws {
        let directory = try TemporaryDirectory()
        try shell(
            """
            mkdir outside target; printf original > outside/file; ln -s ../outside target/dir
            ln -s ../outside/file target/file; ln -s ../outside/new target/new; ln -s ../outside/file target/entry
            printf s > outside/single; ln -s ../outside/single target/single; ln outside/file target/hard; chmod 644 outside/file
            """, in: directory.path)
        let before = try shell("ls -lan --full-time outside; stat -c %Z outside/file", in: directory.path)
        let target = try make(directory)
        #expect(code { _ = try target.directory(["dir".bytes], create: true) } == .refusedPath)
        #expect(code { _ = try target.directory(["dir".bytes, "sub".bytes], create: true) } == .refusedPath)
        #expect(code { _ = try target.directory(["file".bytes], create: true) } == .refusedPath)
        #expect(code { _ = try FileWriter.create(in: target.root, name: "file".bytes) } == .alreadyExists)
        #expect(code { _ = try FileWriter.create(in: target.root, name: "new".bytes) } == .alreadyExists)
        #expect(code { _ = try FileWriter.openExisting(in: target.root, name: "file".bytes) } == .refusedPath)
        #expect(code { _ = try FileWriter.openExisting(in: target.root, name: "single".bytes) } == .refusedPath)
        #expect(code { _ = try FileWriter.openExisting(in: target.root, name: "dir".bytes) } == .refusedPath)
        #expect(code { _ = try FileWriter.openExisting(in: target.root, name: "hard".bytes) } == .refusedPath)
        let metadata = FileMetadata(
            type: .regular, permissions: 0o777, userID: 5, groupID: 5,
            extendedAttributes: [ExtendedAttribute(name: "user.a".bytes, value: [1])])
        let remarks = MetadataWriter(owners: OwnerNames()).apply(metadata, to: "entry".bytes, in: target.root)
        #expect(remarks.map(\.kind) == [.replaced])
        #expect(try shell("ls -lan --full-time outside; stat -c %Z outside/file", in: directory.path) == before)
        #expect(try shell("cat outside/file; getfattr outside/file", in: directory.path) == "original")
    }

    @Test("A directory swapped for a symbolic link while files are written never leads outside")
    func swapRace() async throws {
        let directory = try TemporaryDirectory()
        try shell("mkdir -p outside target/dir", in: directory.path)
        let path = directory.path
        let stopping = StopFlag()
        let swapper = WorkerThreads(count: 1, name: "swapper") { _ in
            while !stopping.isSet {
                guard rename("\(path)/target/dir", "\(path)/target/aside") == 0,
                    symlink("../outside", "\(path)/target/dir") == 0
                else { return }
                stopping.count()
                guard unlink("\(path)/target/dir") == 0, rename("\(path)/target/aside", "\(path)/target/dir") == 0
                else { return }
            }
        }
        var written = 0
        var refused = 0
        // A cache of one and another directory in between make each round open the directory anew.
        let target = try RestoreTarget.open(path: "\(path)/target".bytes, create: false, openDirectories: 1)
        while written < 300 || refused < 300, stopping.swaps < 2_000_000 {
            do {
                _ = try target.directory(["other".bytes], create: true)
                let handle = try target.directory(["dir".bytes], create: false)
                let name = "f\(written)".bytes
                let writer = try FileWriter.create(in: handle, name: name)
                try writer.close()
                written += 1
            } catch {
                #expect(error.code == .refusedPath || error.code == .targetMissing)
                refused += 1
            }
        }
        stopping.set()
        swapper.join()
        #expect(try shell("ls outside | wc -l", in: path) == "0\n")
        #expect(try shell("ls target/dir | wc -l", in: path) == "\(written)\n")
        #expect(written >= 300 && refused >= 300)
    }

    @Test("Many threads make and fill the same directories")
    func threads() throws {
        let directory = try TemporaryDirectory()
        let target = try RestoreTarget.open(path: directory.bytes + "/t".bytes, create: true, openDirectories: 3)
        let problems = Mutex<[String]>([])
        let workers = WorkerThreads(count: 4, name: "restore") { worker in
            for index in 0..<200 {
                do {
                    let handle = try target.directory(["d\(index % 7)".bytes, "e\(index % 3)".bytes], create: true)
                    try makeFile(handle, "f\(worker)-\(index)", "x")
                } catch {
                    problems.withLock { $0.append("\(error)") }
                }
            }
        }
        workers.join()
        #expect(problems.withLock { $0 } == [])
        #expect(try shell("find t -type f | wc -l; find t -type d | wc -l", in: directory.path) == "800\n29\n")
    }
}

/// Tells a thread to stop, and counts what it did.
private final class StopFlag: Sendable {
    private let flag = Atomic(false)
    private let counter = Atomic(0)

    var isSet: Bool { flag.load(ordering: .relaxed) }
    var swaps: Int { counter.load(ordering: .relaxed) }
    func set() { flag.store(true, ordering: .relaxed) }
    func count() { counter.wrappingAdd(1, ordering: .relaxed) }
}
