import Basics
import ObjectStorageTesting
import SystemPackage
import Testing

@testable import ObjectStorage

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

@Suite("Directory store")
struct DirectoryObjectStoreTests {
    let directory: TemporaryDirectory
    let store: DirectoryObjectStore

    init() async throws {
        directory = try TemporaryDirectory()
        store = try await DirectoryObjectStore(root: directory.path)
    }

    private func path(_ relative: String) -> String { directory.path.string + "/" + relative }

    private func expect(
        _ code: ObjectStorageError.Code, sourceLocation: Testing.SourceLocation = #_sourceLocation,
        _ body: () async throws -> Void
    ) async {
        let error = await #expect(throws: ObjectStorageError.self, sourceLocation: sourceLocation) { try await body() }
        #expect(error?.code == code, "\(error?.message ?? "")", sourceLocation: sourceLocation)
    }

    private func makeFile(_ relative: String, daysOld: Int = 0) throws {
        let file = try FileDescriptor.open(
            FilePath(path(relative)), .writeOnly, options: .create, permissions: .ownerReadWrite)
        _ = try file.closeAfter { try file.writeAll([1]) }
        let time = timespec(tv_sec: time(nil) - daysOld * 86_400, tv_nsec: 0)
        #expect(utimensat(AT_FDCWD, path(relative), [time, time], 0) == 0)
    }

    // MARK: Opening

    @Test("A missing directory is told, and made only when asked")
    func missingRoot() async throws {
        let root = directory.path.appending("x").appending("y")
        await expect(.noSuchBucket) { _ = try await DirectoryObjectStore(root: root) }
        let made = try await DirectoryObjectStore(root: root, create: true)
        try await made.put("a", bytes: [1])
        #expect(try FileStatus(at: AT_FDCWD, path("x/y/a")).size == 1)
        let again = try await DirectoryObjectStore(root: root, create: true)
        #expect(try await again.get("a", maximumBytes: 1) == [1])
        try makeFile("file")
        await expect(.noSuchBucket) { _ = try await DirectoryObjectStore(root: directory.path.appending("file")) }
    }

    @Test("Opening and reading leave no trace in the directory")
    func readingLeavesNoTrace() async throws {
        _ = try await store.list(prefix: "", token: nil)
        await expect(.notFound) { _ = try await store.head("a") }
        try await store.delete("a", ifTag: nil)
        #expect(try DirectoryEntries.readAll(directory.path.string).isEmpty)
    }

    @Test("When the directory is removed under the store, that is told instead of an empty listing")
    func rootRemoved() async throws {
        #expect(rmdir(directory.path.string) == 0)
        await expect(.noSuchBucket) { _ = try await store.list(prefix: "", token: nil) }
        await expect(.noSuchBucket) { _ = try await store.head("a") }
        await expect(.noSuchBucket) { _ = try await store.get("a", maximumBytes: 1) }
        await expect(.noSuchBucket) { try await store.put("a", bytes: [1]) }
        await expect(.noSuchBucket) {
            try await store.put("a/b", bytes: [1], options: PutOptions(condition: .ifAbsent))
        }
    }

    // MARK: Files

    @Test("Objects are files of their owner alone, and no temporary file is left", arguments: [true, false])
    func files(nameless: Bool) async throws {
        var features = DirectoryObjectStore.Features()
        features.namelessFiles = nameless
        let store = try await DirectoryObjectStore(root: directory.path, features: features)
        try await store.put("a/b", bytes: [1, 2])
        let receipt = try await store.put("a/c", bytes: [3], options: PutOptions(condition: .ifAbsent))
        await expect(.preconditionFailed) {
            try await store.put("a/c", bytes: [4], options: PutOptions(condition: .ifAbsent))
        }
        try await store.put("a/c", bytes: [5], options: PutOptions(condition: .ifTag(receipt.tag)))
        for (name, mode) in [("a", 0o40700), ("a/b", 0o100600), ("a/c", 0o100600)] as [(String, mode_t)] {
            var status = stat()
            #expect(lstat(path(name), &status) == 0)
            #expect(status.st_mode == mode, "\(name)")
            #expect(status.st_mode & S_IFMT == S_IFDIR || status.st_nlink == 1)
        }
        #expect(try DirectoryEntries.readAll(path(".tmp~")) == ["lock"])
    }

    @Test("Without links or nameless files the guarantees are the same", arguments: ObjectStoreConformance.checks)
    func poorFilesystem(check: ObjectStoreConformance.Check) async throws {
        guard check.name != "three thousand objects are listed once each, in pages" else { return }
        var features = DirectoryObjectStore.Features()
        features.hardLinks = false
        try await check.run(on: DirectoryObjectStore(root: directory.path, features: features))
        features.hardLinks = true
        features.namelessFiles = false
        try await check.run(on: DirectoryObjectStore(root: directory.path, features: features))
    }

    @Test("Stores in several processes' stead: two on one directory lose no update")
    func twoStores() async throws {
        let other = try await DirectoryObjectStore(root: directory.path)
        try await store.put("counter", bytes: [0])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for store in [store, other, store, other] {
                group.addTask {
                    var done = 0
                    while done < 10 {
                        let buffer = Buffer(capacity: 1)
                        let attributes = try await store.get("counter", range: nil, into: buffer, maximumBytes: 1)
                        let options = PutOptions(condition: .ifTag(attributes.tag))
                        do throws(ObjectStorageError) {
                            try await store.put("counter", bytes: [buffer.bytes[0] + 1], options: options)
                            done += 1
                        } catch {
                            if error.code != .preconditionFailed { throw error }
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await store.get("counter", maximumBytes: 1) == [40])
    }

    @Test("A name cannot be an object and a folder: told for every way to put, and harmless")
    func objectOrFolder() async throws {
        try await store.put("object", bytes: [1])
        try await store.put("folder/x", bytes: [2])
        for condition in [.none, .ifAbsent] as [PutCondition] {
            await expect(.invalidArgument) {
                try await store.put("object/x", bytes: [3], options: PutOptions(condition: condition))
            }
            await expect(.invalidArgument) {
                try await store.put("folder", bytes: [3], options: PutOptions(condition: condition))
            }
        }
        await expect(.notFound) { _ = try await store.get("folder", maximumBytes: 1) }
        await expect(.notFound) { _ = try await store.head("object/x") }
        try await store.delete("folder", ifTag: nil)
        #expect(try await store.listAll(prefix: "").map(\.key) == ["folder/x", "object"])
    }

    @Test("A file that something else cuts short while it is read is corrupted, not silently short")
    func foreignTruncation() async throws {
        try await store.put("a", bytes: [1, 2, 3])
        #expect(truncate(path("a"), 2) == 0)
        #expect(try await store.head("a").size == 2)
        let receipt = try await store.put("a", bytes: [1, 2, 3])
        #expect(truncate(path("a"), 2) == 0)
        await expect(.preconditionFailed) { try await store.delete("a", ifTag: receipt.tag) }
    }

    // MARK: Listing

    @Test("What others put into the directory does not disturb a listing")
    func foreignFiles() async throws {
        try await store.put("a", bytes: [1])
        for name in ["b c", "lost+found", "\u{e4}", "d~"] { try makeFile(name) }
        #expect(mkfifo(path("fifo"), 0o600) == 0)
        #expect(symlink("nowhere", path("dangling")) == 0)
        #expect(symlink("a", path("link")) == 0)
        #expect(mkdir(path("other folder"), 0o700) == 0)
        try makeFile("other folder/e")
        #expect(try await store.listAll(prefix: "").map(\.key) == ["a", "link"])
        await expect(.notFound) { _ = try await store.get("fifo", maximumBytes: 1) }
        #expect(try await store.get("link", maximumBytes: 1) == [1])
        for name in ["fifo", "dangling"] {
            await expect(.failed) { try await store.put(name, bytes: [2], options: PutOptions(condition: .ifAbsent)) }
        }
    }

    @Test("A link back to a folder above does not make a listing endless")
    func linkLoop() async throws {
        try await store.put("a/b", bytes: [1])
        #expect(symlink(".", path("a/loop")) == 0)
        let keys = try await store.listAll(prefix: "a/").map(\.key)
        #expect(keys.allSatisfy { $0.utf8.count <= ObjectKey.maximumBytes && $0.hasSuffix("b") })
    }

    @Test("Any tree is listed in byte order, whatever the prefix", arguments: [1, 2, 3, 4] as [UInt64])
    func randomTrees(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        var keys: Set<String> = []
        for _ in 0..<1500 {
            var key = ""
            for depth in 0..<Int.random(in: 1...4, using: &random) {
                if depth > 0 { key += "/" }
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    key += String(Character(["a", "b", "0", "_", "-", "Z"].randomElement(using: &random) ?? "a"))
                }
            }
            // Folders get names that no object has.
            let parts = key.split(separator: "/")
            keys.insert((parts.dropLast().map { $0 + "." } + [parts.last ?? "a"]).joined(separator: "/"))
        }
        for key in keys {
            var folder = ""
            for part in key.split(separator: "/").dropLast() {
                folder += part + "/"
                mkdir(path(folder), 0o700)
            }
            try makeFile(key)
        }
        for prefix in ["", "a", "a.", "a./", "a./b", "0-", "Z./_./"] {
            var listed: [String] = []
            var token: String?
            repeat {
                let page = try await store.list(prefix: prefix, token: token)
                listed += page.objects.map(\.key)
                token = page.next
            } while token != nil
            let expected = keys.filter { $0.hasPrefix(prefix) }
                .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            #expect(listed == expected, "seed \(seed), prefix \(prefix)")
        }
    }

    // MARK: Time and leftovers

    @Test("The time is the filesystem's, carried on by the local clock between two measurements")
    func serverTime() async throws {
        // A local clock that is an hour behind, as on a client of a file server.
        let local = ManualWallClock(SystemWallClock().now().advanced(bySeconds: -3600))
        let store = try await DirectoryObjectStore(root: directory.path, clock: local)
        let start = SystemWallClock().now()
        // Filesystems keep time in ticks of milliseconds, so a stamp may be a little older than the clock's.
        func isNow(_ time: Timestamp) -> Bool { time - start > -0.1 && time <= SystemWallClock().now() }
        let time = try await store.serverTime()
        #expect(isNow(time))
        #expect(isNow(try await store.put("a", bytes: []).date))
        local.advance(bySeconds: 30)
        let date = try #require(try await store.head("a").date)
        #expect(date == time.advanced(bySeconds: 30), "within a minute the local clock counts on")
        local.advance(bySeconds: 40)
        let measured = try #require(try await store.head("a").date)
        #expect(isNow(measured), "after a minute it is measured anew")
    }

    @Test("A sweep removes temporary files that are a day old, and nothing else")
    func sweep() async throws {
        #expect(try await store.sweepTemporaries() == 0)
        try await store.put("a", bytes: [1])
        try makeFile(".tmp~/old1", daysOld: 2)
        try makeFile(".tmp~/old2", daysOld: 2)
        try makeFile(".tmp~/young")
        try makeFile(".tmp~/lock", daysOld: 3)
        try makeFile("b", daysOld: 3)
        #expect(try await store.sweepTemporaries() == 2)
        #expect(try DirectoryEntries.readAll(path(".tmp~")).sorted() == ["lock", "young"])
        #expect(try await store.listAll(prefix: "").map(\.key) == ["a", "b"])
    }

    @Test(
        "A full disk is told as such; removing still works, and leaves room", .enabled(if: SmallFilesystem.isAvailable))
    func fullDisk() async throws {
        let small = try SmallFilesystem(bytes: 1 << 20)
        let store = try await DirectoryObjectStore(root: small.path)
        try await store.put("a", bytes: [UInt8](repeating: 1, count: 600_000))
        for condition in [.none, .ifAbsent] as [PutCondition] {
            await expect(.noSpace) {
                let body = ObjectBody([Buffer([UInt8](repeating: 2, count: 600_000))])
                _ = try await store.put("b", body, options: PutOptions(condition: condition))
            }
        }
        #expect(try DirectoryEntries.readAll(small.path.string + "/.tmp~") == ["lock"])
        try await store.delete("a", ifTag: try await store.head("a").tag)
        try await store.put("b", bytes: [UInt8](repeating: 2, count: 600_000))
        try small.makeReadOnly()
        await expect(.accessDenied) { try await store.put("c", bytes: [1]) }
        await expect(.accessDenied) { try await store.delete("b", ifTag: nil) }
        #expect(try await store.listAll(prefix: "").map(\.key) == ["b"])
        #expect(try await store.head("b").date != nil)
        _ = try await store.serverTime()
    }

    @Test("Errors of the system become codes that say whether to try again")
    func errorCodes() {
        let request = RequestContext(action: "store", key: "a", location: "/x")
        let cases: [(Errno, ObjectStorageError.Code)] = [
            (.noSpace, .noSpace), (.diskQuotaExceeded, .noSpace), (.permissionDenied, .accessDenied),
            (.readOnlyFileSystem, .accessDenied), (.ioError, .failed), (.staleNFSFileHandle, .unavailable),
            (.timedOut, .timedOut), (.hostIsDown, .unreachable), (.tooManyOpenFiles, .unavailable),
            (.fileNameTooLong, .invalidArgument), (.fileTooLarge, .tooLarge), (.noLocks, .unsupported),
        ]
        for (errno, code) in cases {
            let error = request.error(errno, "writing")
            #expect(error.code == code)
            #expect(error.message.hasPrefix("cannot store a in /x: writing: \(errno)"))
            #expect(error.cause as? Errno == errno)
        }
    }
}

extension DirectoryEntries {
    /// Every name in a directory but "." and "..".
    static func readAll(_ path: String) throws -> [String] {
        try read(at: AT_FDCWD, path).map(\.name)
    }
}
