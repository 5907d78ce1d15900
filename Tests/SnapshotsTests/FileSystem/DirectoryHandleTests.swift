import Basics
import RepositoryFormat
import Snapshots
import SystemPackage
import Testing

@Suite("Reading directories and files")
struct DirectoryHandleTests {
    private let owners = OwnerNames()

    @Test("Entries are sorted by their bytes, whatever the bytes are")
    func names() throws {
        let directory = try TemporaryDirectory()
        let handle = try directory.handle()
        let names: [[UInt8]] = [
            "b".bytes, "a".bytes, "ab".bytes, [0xff, 0xfe], [0x80], "Z".bytes, "é".bytes, "a\nb".bytes, "...".bytes,
            [UInt8](repeating: 0x78, count: 255),
        ]
        for name in names { _ = try FileWriter.create(in: handle, name: name) }
        #expect(try handle.names() == names.sorted { $0.lexicographicallyPrecedes($1) })
        #expect(try handle.names().count == names.count, "a second look starts from the beginning")
        let metadata = try handle.metadata(of: [0xff, 0xfe], owners: owners, includingExtendedAttributes: true)
        #expect(metadata.type == .regular)
    }

    @Test("A directory larger than one block of records is listed whole")
    func manyNames() throws {
        let directory = try TemporaryDirectory()
        try shell("seq -f 'file-with-a-name-of-some-length-%06g' 1 5000 | xargs touch", in: directory.path)
        let names = try directory.handle().names()
        #expect(names.count == 5000)
        #expect(names.first == "file-with-a-name-of-some-length-000001".bytes)
        #expect(names.last == "file-with-a-name-of-some-length-005000".bytes)
    }

    @Test("Metadata of every type is what stat tells", .enabled(if: Privilege.isRoot, "device files need root"))
    func metadata() throws {
        let directory = try TemporaryDirectory()
        try shell(
            """
            printf hello > file && chmod 4751 file && chown 12345:54321 file && touch -d '2001-02-03 04:05:06.123456789Z' file
            mkdir dir && chmod 2775 dir && ln -s ../no/where link && chown -h 7:8 link && mkfifo fifo
            mknod char c 10 200 && mknod block b 259 300000 && ln file other && touch -d '1969-12-31 23:59:58.25Z' dir
            python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('socket')"
            """, in: directory.path)
        let handle = try directory.handle()
        let types: [String: RepositoryFormat.FileType] = [
            "file": .regular, "dir": .directory, "link": .symbolicLink, "fifo": .fifo, "char": .characterDevice,
            "block": .blockDevice, "socket": .socket, "other": .regular,
        ]
        for (name, type) in types {
            let found = try handle.metadata(of: name.bytes, owners: owners, includingExtendedAttributes: true)
            #expect(found.type == type, "\(name)")
            let told = try shell(
                "stat -c '%a %u %g %i %d %h %s %r' \(name); stat -c '%.9Y %.9Z' \(name)", in: directory.path)
            let lines = told.split(separator: "\n")
            let isRegular = type == .regular
            let size = isRegular ? found.size : try #require(UInt64(lines[0].split(separator: " ")[6]))
            #expect(
                "\(String(found.permissions, radix: 8)) \(found.userID) \(found.groupID) \(found.inode) \(found.device) "
                    + "\(found.linkCount) \(size) \(found.deviceNumber)" == lines[0], "\(name)")
            #expect("\(decimal(found.modified)) \(decimal(found.changed))" == lines[1], "\(name)")
            #expect(isRegular || found.size == 0)
            #expect(found.extendedAttributes.isEmpty)
        }
        let link = try handle.metadata(of: "link".bytes, owners: owners, includingExtendedAttributes: true)
        #expect(link.linkTarget == "../no/where".bytes)
        let fifo = try handle.metadata(of: "fifo".bytes, owners: owners, includingExtendedAttributes: false)
        #expect(fifo.userName == "root")
        #expect(fifo.groupName == "root")
        let own = try directory.handle("dir").ownMetadata(owners: owners, includingExtendedAttributes: true)
        #expect(own == (try handle.metadata(of: "dir".bytes, owners: owners, includingExtendedAttributes: true)))
        #expect(own.modified.nanoseconds == -1_750_000_000)
    }

    /// As stat prints it: seconds and nine digits. For moments before 1970 it prints the true negative decimal.
    private func decimal(_ time: Timestamp) -> String {
        let magnitude = time.nanoseconds.magnitude
        let digits = String(magnitude % 1_000_000_000)
        return (time.nanoseconds < 0 ? "-" : "") + "\(magnitude / 1_000_000_000)."
            + String(repeating: "0", count: 9 - digits.count) + digits
    }

    @Test(
        "Attributes are what getfattr tells, large ones too", .enabled(if: Privilege.isRoot, "capabilities need root"))
    func attributes() throws {
        let directory = try TemporaryDirectory()
        try shell(
            """
            touch file plain && mkdir dir && ln -s file link
            setfattr -n user.empty file && setfattr -n user.text -v hello file && setfattr -n trusted.t -v 0x00ff00 file
            setfattr -n user.large -v 0x$(head -c 2000 /dev/zero | tr '\\0' 'a' | od -v -An -tx1 | tr -d ' \\n') file
            setfattr -h -n trusted.link -v onlink link
            setfacl -m u:1:rw,g:2:r file && setcap cap_net_raw+ep file && setfacl -d -m u:3:rwx dir
            """, in: directory.path)
        let handle = try directory.handle()
        for name in ["file", "plain", "dir", "link"] {
            let found = try handle.metadata(of: name.bytes, owners: owners, includingExtendedAttributes: true)
            let text = found.extendedAttributes.map { attribute in
                PathText.display(attribute.name)
                    + (attribute.value.isEmpty ? "=0x" : "=0x" + Hex.encode(attribute.value))
            }
            let told = try shell("getfattr -h -d -m - -e hex \(name) | grep = || true", in: directory.path)
            #expect(text == told.split(separator: "\n").map(String.init).sorted(), "\(name)")
            #expect(text.count == ["file": 6, "plain": 0, "dir": 1, "link": 1][name])
            let bare = try handle.metadata(of: name.bytes, owners: owners, includingExtendedAttributes: false)
            #expect(bare.extendedAttributes.isEmpty)
        }
        let own = try directory.handle("dir").ownMetadata(owners: owners, includingExtendedAttributes: true)
        #expect(own.extendedAttributes.map(\.name) == ["system.posix_acl_default".bytes])
    }

    @Test("What is not there, not a directory or not permitted is told apart")
    func failures() async throws {
        let directory = try TemporaryDirectory()
        try shell(
            "touch file && ln -s / link && ln -s file alias && mkdir dir secret && chmod 700 secret . && touch secret/x",
            in: directory.path
        )
        let handle = try directory.handle()
        #expect(code { _ = try handle.openDirectory(name: "none".bytes) } == .sourceMissing)
        #expect(code { _ = try handle.openDirectory(name: "file".bytes) } == .notADirectory)
        #expect(code { _ = try handle.openDirectory(name: "link".bytes) } == .notADirectory)
        #expect(code { _ = try DirectoryHandle.open(path: directory.bytes + "/none".bytes) } == .sourceMissing)
        #expect(code { _ = try DirectoryHandle.open(path: directory.bytes + "/file".bytes) } == .notADirectory)
        #expect(code { _ = try DirectoryHandle.open(path: []) } == .invalidArgument)
        #expect(code { _ = try DirectoryHandle.open(path: "/tmp\0/x".bytes) } == .invalidArgument)
        #expect(
            code { _ = try handle.metadata(of: "none".bytes, owners: owners, includingExtendedAttributes: true) }
                == .sourceMissing)
        #expect(code { _ = try handle.openFile(name: "none".bytes) } == .sourceMissing)
        #expect(code { _ = try handle.openFile(name: "link".bytes) } == .changedWhileRead)
        #expect(code { _ = try handle.openFile(name: "alias".bytes) } == .changedWhileRead)
        #expect(code { _ = try handle.openFile(name: "dir".bytes) } == .changedWhileRead)
        guard Privilege.isRoot else { return }
        let denied = try await asUser(4242) { code { _ = try handle.openDirectory(name: "secret".bytes) } }
        #expect(denied == .permissionDenied)
    }

    @Test("A FIFO or socket in a file's place is refused at once", .timeLimit(.minutes(1)))
    func fifo() throws {
        let directory = try TemporaryDirectory()
        try shell(
            "mkfifo fifo; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('socket')\"",
            in: directory.path)
        let handle = try directory.handle()
        for name in ["fifo", "socket"] {
            #expect(code { _ = try handle.openFile(name: name.bytes) } == .changedWhileRead)
            #expect(code { _ = try FileWriter.openExisting(in: handle, name: name.bytes) } == .refusedPath)
        }
    }

    @Test("A file under another process's lease is waited for and read", .timeLimit(.minutes(1)))
    func lease() throws {
        let directory = try TemporaryDirectory()
        try directory.write("file", "content".bytes)
        // The kernel asks the holder by SIGIO to give the lease up (fcntl(2), F_SETLEASE).
        let holder = """
            import fcntl, os, signal
            signal.alarm(50)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
            file = os.open("file", os.O_RDWR)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            open("ready", "w").close()
            signal.sigwait([signal.SIGIO])
            open("asked", "w").close()
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            """
        try directory.write("holder.py", holder.bytes)
        try shell("mkfifo ready; python3 holder.py > /dev/null 2>&1 & timeout 50 cat ready", in: directory.path)
        let reader = try directory.handle().openFile(name: "file".bytes)
        #expect(try content(reader, 100) == "content".bytes)
        #expect(try directory.handle().names().contains("asked".bytes))
    }

    @Test("Reading at any offset, past the end too, and not touching the access time")
    func reading() throws {
        let directory = try TemporaryDirectory()
        let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try directory.write("file", bytes)
        try shell("touch -a -d '2000-01-01Z' file", in: directory.path)
        let reader = try directory.handle().openFile(name: "file".bytes)
        reader.adviseSequential()
        var buffer = [UInt8](repeating: 0, count: 70_000)
        #expect(try buffer.withUnsafeMutableBytes { try reader.read(at: 10, into: $0) } == 70_000)
        #expect(buffer == Array(bytes[10..<70_010]))
        #expect(try buffer.withUnsafeMutableBytes { try reader.read(at: 99_990, into: $0) } == 10)
        #expect(Array(buffer[..<10]) == Array(bytes[99_990...]))
        #expect(try buffer.withUnsafeMutableBytes { try reader.read(at: 100_000, into: $0) } == 0)
        #expect(try buffer.withUnsafeMutableBytes { try reader.read(at: .max, into: $0) } == 0)
        #expect(try buffer.withUnsafeMutableBytes { try reader.read(at: UInt64(Int64.max), into: $0) } == 0)
        reader.dropCache(0..<100_000)
        reader.dropCache(0..<UInt64.max)
        #expect(try shell("stat -c %X file", in: directory.path) == "946684800\n")
    }

    @Test("A change while reading is noticed", arguments: ["append", "truncate", "rewrite", "chmod", "none", "rename"])
    func changes(kind: String) throws {
        let directory = try TemporaryDirectory()
        try directory.write("file", [1, 2, 3, 4])
        let handle = try directory.handle()
        let before = try handle.metadata(of: "file".bytes, owners: owners, includingExtendedAttributes: true)
        let reader = try handle.openFile(name: "file".bytes)
        #expect(!reader.changed(since: before))
        #expect(try reader.metadata().inode == before.inode)
        switch kind {
        case "append": try shell("printf x >> file", in: directory.path)
        case "truncate": try shell("truncate -s 2 file", in: directory.path)
        case "rewrite":
            // Same size, and the old time put back: the change time still tells.
            try shell("cp -p file keep; printf abcd > file; touch -r keep file", in: directory.path)
        case "chmod": try shell("chmod 600 file", in: directory.path)
        case "rename":
            try shell("printf abcd > new && mv new file", in: directory.path)
            let other = try handle.openFile(name: "file".bytes)
            #expect(other.changed(since: before))
        default: break
        }
        #expect(reader.changed(since: before) == (kind != "none"))
        _ = try content(reader, 10)
    }

    @Test("Holes are found where they are")
    func extents() throws {
        let directory = try TemporaryDirectory()
        try shell(
            """
            truncate -s 10M hole && truncate -s 20000 small && : > empty && printf hi > tiny
            truncate -s 8M mixed && printf x | dd of=mixed bs=1 seek=1048576 conv=notrunc status=none
            printf y | dd of=mixed bs=1 seek=5242880 conv=notrunc status=none
            truncate -s 200000 near && printf a | dd of=near bs=1 seek=0 conv=notrunc status=none
            printf b | dd of=near bs=1 seek=40960 conv=notrunc status=none && dd if=/dev/zero of=full bs=1M count=3 status=none
            """, in: directory.path)
        let handle = try directory.handle()
        func extents(_ name: String) throws -> [Range<UInt64>] { try handle.openFile(name: name.bytes).extents() }
        #expect(try extents("hole") == [])
        #expect(try extents("small") == [])
        #expect(try extents("empty") == [])
        #expect(try extents("tiny") == [0..<2])
        #expect(try extents("full") == [0..<3 << 20])
        let mixed = try extents("mixed")
        #expect(mixed.count == 2)
        #expect(mixed.first?.contains(1 << 20) == true)
        #expect(mixed.last?.contains(5 << 20) == true)
        #expect(mixed.reduce(0) { $0 + $1.count } < 1 << 20)
        let near = try extents("near")
        #expect(near.count == 1)
        #expect(near.first?.lowerBound == 0)
        #expect(near.first.map { $0.upperBound > 40_960 && $0.upperBound < 200_000 } == true)
    }

    @Test("A file system that tells of no holes has one extent per file")
    func noHoles() throws {
        let status = try DirectoryHandle.open(path: "/proc/self".bytes).openFile(name: "limits".bytes)
        #expect(try status.extents() == [])
        #expect(try !content(status, 100).isEmpty, "content that the size does not announce can be read all the same")
    }
}
