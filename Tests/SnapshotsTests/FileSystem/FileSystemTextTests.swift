import Basics
import SystemPackage
import Testing

@testable import Snapshots

@Suite("Names, messages, owners, extents")
struct FileSystemTextTests {
    @Test(
        "Names are shown on one line, whatever they contain",
        arguments: [
            ("plain name.txt".bytes, "plain name.txt"), ("päckchen 名".bytes, "päckchen 名"), ([], ""),
            ([0x61, 0x0a, 0x1b, 0x5b], "a\\x0a\\x1b["), ([0x61, 0xff, 0xfe, 0x62], "a\\xff\\xfeb"),
            ([0xc3], "\\xc3"), ([0xe5, 0x90, 0x41], "\\xe5\\x90A"), ([0xc0, 0xaf], "\\xc0\\xaf"),
            ("a\\x0a".bytes, "a\\\\x0a"), ("a\u{202e}b".bytes, "a\\xe2\\x80\\xaeb"), ("\u{85}".bytes, "\\xc2\\x85"),
            ([0xed, 0xa0, 0x80], "\\xed\\xa0\\x80"), ([0x7f], "\\x7f"),
        ] as [([UInt8], String)])
    func display(bytes: [UInt8], text: String) {
        #expect(PathText.display(bytes) == text)
    }

    @Test(
        "A name that could leave its directory, or that no directory can have, is no name",
        arguments: [
            [], ".".bytes, "..".bytes, "a/b".bytes, "/".bytes, "a\0b".bytes, [UInt8](repeating: 0x61, count: 256),
            "../../etc/passwd".bytes,
        ])
    func refusedNames(name: [UInt8]) throws {
        #expect(EntryName.problem(name) != nil)
        let directory = try TemporaryDirectory()
        let handle = try directory.handle()
        let owners = OwnerNames(users: [], groups: [])
        #expect(code { _ = try handle.openDirectory(name: name) } == .refusedPath)
        #expect(code { _ = try handle.openFile(name: name) } == .refusedPath)
        #expect(
            code { _ = try handle.metadata(of: name, owners: owners, includingExtendedAttributes: true) }
                == .refusedPath)
        #expect(code { _ = try FileWriter.create(in: handle, name: name) } == .refusedPath)
        #expect(code { _ = try FileWriter.openExisting(in: handle, name: name) } == .refusedPath)
        #expect(code { _ = try handle.makeDirectory(name: name) } == .refusedPath)
        #expect(code { _ = try handle.makeSymbolicLink(name: name, target: "t".bytes) } == .refusedPath)
        #expect(code { _ = try handle.makeHardLink(name: name, to: "t".bytes, in: handle) } == .refusedPath)
        #expect(code { _ = try handle.makeHardLink(name: "t".bytes, to: name, in: handle) } == .refusedPath)
        #expect(code { _ = try handle.remove(name: name) } == .refusedPath)
        #expect(code { _ = try handle.rename("t".bytes, to: name) } == .refusedPath)
        let target = try directory.target("target")
        #expect(code { _ = try target.directory(["a".bytes, name], create: true) } == .refusedPath)
        #expect(try handle.names() == ["target".bytes])
        #expect(try target.root.names().isEmpty)
    }

    @Test(
        "Names that only look odd are names",
        arguments: ["...", " ", "-rf", "~", "*", "a\nb", "\\", ".hidden"])
    func acceptedNames(name: String) {
        #expect(EntryName.problem(name.bytes) == nil)
    }

    @Test("An errno becomes a code, a reason and a remedy")
    func errors() {
        let path = "/data/a\n".bytes
        let missing = SnapshotError.system(.noSuchFileOrDirectory, "open", path, side: .source)
        #expect(missing.code == .sourceMissing)
        #expect(
            missing.message
                == "cannot open /data/a\\x0a: No such file or directory; it was removed meanwhile, or the path is wrong"
        )
        #expect(missing.path == path)
        #expect(missing.cause as? Errno == .noSuchFileOrDirectory)
        #expect(missing.location.fileID == "SnapshotsTests/FileSystemTextTests.swift")
        for (errno, source, target) in [
            (2, .sourceMissing, .targetMissing), (28, .noSpace, .noSpace), (122, .noSpace, .noSpace),
            (13, .permissionDenied, .permissionDenied), (1, .permissionDenied, .permissionDenied),
            (30, .permissionDenied, .permissionDenied), (5, .sourceUnreadable, .targetUnwritable),
            (27, .targetUnwritable, .targetUnwritable), (24, .tooManyOpenFiles, .tooManyOpenFiles),
            (20, .notADirectory, .notADirectory), (40, .refusedPath, .refusedPath), (36, .refusedPath, .refusedPath),
            (39, .targetNotEmpty, .targetNotEmpty), (17, .alreadyExists, .alreadyExists),
        ] as [(CInt, SnapshotError.Code, SnapshotError.Code)] {
            #expect(SnapshotError.system(Errno(rawValue: errno), "x", path, side: .source).code == source)
            #expect(SnapshotError.system(Errno(rawValue: errno), "x", path, side: .target).code == target)
        }
    }

    @Test("Names and ids of owners, where the first line wins and bad lines are skipped")
    func owners() {
        let owners = OwnerNames(
            users: "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nbad\n::5:\nx:y:-1:\nann:x:1000:7:A,B:/:/\n".bytes
                + [0xff] + ":x:12:12\nroot:x:99:1::/:\nbig:x:4294967295:\nover:x:4294967296:".bytes,
            groups: "wheel:x:0:root,ann\nstaff:x:50:".bytes)
        #expect(owners.userName(0) == "root")
        #expect(owners.userID(named: "root") == 0)
        #expect(owners.userID(named: "toor") == 0)
        #expect(owners.userName(1000) == "ann")
        #expect(owners.userName(12) == "")
        #expect(owners.userName(5) == "")
        #expect(owners.userName(.max) == "big")
        #expect(owners.userID(named: "over") == nil)
        #expect(owners.groupName(50) == "staff")
        #expect(owners.groupID(named: "wheel") == 0)
        #expect(owners.groupName(1000) == "")
    }

    @Test("This machine's owners as the system tells them")
    func systemOwners() throws {
        let owners = OwnerNames()
        let directory = try TemporaryDirectory()
        let name = try shell("awk -F: '{print $1 \" \" $3}' /etc/passwd | tail -1", in: directory.path)
        let words = name.split(whereSeparator: { $0 == " " || $0 == "\n" })
        #expect(owners.userID(named: String(words[0])) == UInt32(words[1]))
        #expect(owners.userName(0) == "root")
        #expect(OwnerNames(usersPath: "/nonexistent", groupsPath: "/").userName(0) == "")
    }

    @Test("Small gaps are data, and a limit joins the nearest extents")
    func extents() {
        var list = ExtentList()
        list.append(0..<10)
        list.append(10..<20)
        list.append(20 + 65_535..<100_000)
        list.append(100_000 + 65_536..<300_000)
        list.append(400_000..<400_000)
        #expect(list.extents == [0..<100_000, 165_536..<300_000])

        var bounded = ExtentList(limit: 10)
        var expected: Set<UInt64> = []
        for index in 0..<1000 as Range<UInt64> {
            let start = index * 1_000_000
            bounded.append(start..<start + 1)
            expected.insert(start)
        }
        #expect(bounded.extents.count <= 10)
        #expect(expected.allSatisfy { start in bounded.extents.contains { $0.contains(start) } })
        #expect(zip(bounded.extents, bounded.extents.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
    }

    @Test(
        "Times that nanoseconds cannot hold become the nearest end",
        arguments: [
            (Int64.max, 999_999_999, Int64.max), (Int64.min, 0, Int64.min), (-1, 999_999_999, -1),
            (1, 5, 1_000_000_005),
            (9_223_372_036, 854_775_808, Int64.max),
        ] as [(Int64, Int64, Int64)])
    func times(seconds: Int64, nanoseconds: Int64, expected: Int64) {
        let time = Timestamp(clampedSeconds: seconds, nanoseconds: nanoseconds)
        #expect(time.nanoseconds == expected)
        let (whole, rest) = time.systemTime
        #expect((0..<1_000_000_000).contains(rest))
        #expect(Timestamp(clampedSeconds: whole, nanoseconds: rest) == time)
    }
}
