import Basics
import RepositoryFormat
import Snapshots
import SystemPackage
import Testing

@Suite("Restoring metadata")
struct MetadataWriterTests {
    private let owners = OwnerNames()

    @Test("A tree of everything comes back as independent tools see it", .enabled(if: Privilege.isRoot, "needs root"))
    func roundTrip() throws {
        let directory = try TemporaryDirectory()
        try shell(
            """
            mkdir source; cd source; printf hello > plain; touch -d '2001-02-03 04:05:06.123456789Z' plain
            printf x > setid; chown 12:34 setid; chmod 6755 setid; setcap cap_net_raw,cap_chown+ep setid
            printf x > acl; chown 1000:1000 acl; chmod 640 acl; setfacl -m u:1:rwx,g:2:---,m::r acl
            printf x > readonly; setfattr -n user.comment -v 'some text' readonly; chown 77:77 readonly; chmod 000 readonly
            setfattr -n trusted.overlay.x -v 0x0001ff readonly; setfattr -n user.empty readonly
            mkdir dir; setfacl -d -m u:5:rx,g::rwx dir; setfacl -m u:6:rwx dir; chmod +t dir; mkdir sgid; chmod 2751 sgid
            printf y > dir/child; setfacl -b dir/child; mkdir dir/sub; setfacl -k -b dir/sub; chmod 555 dir/sub
            ln -s ../../etc/passwd link; chown -h 8:9 link; touch -h -d '1960-01-01 00:00:00.5Z' link
            setfattr -h -n trusted.onlink -v 0x01 link
            mkfifo -m 644 fifo; mknod char c 1 3; chmod 666 char; mknod block b 7 1048575; chown 0:6 block
            python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('socket')"
            ln plain dir/hard; ln link dir/hardlink; printf z > "$(printf 'bad\\377\\001name')"
            truncate -s 20M sparse; printf d | dd of=sparse bs=1 seek=10485760 conv=notrunc status=none
            touch -d '2255-05-05 05:05:05.999999999Z' sparse; touch -d '1999-09-09 09:09:09.9Z' dir sgid dir/sub .
            """, in: directory.path)
        var restorer = TreeRestorer(source: try directory.handle("source"), target: try directory.target("copy").root)
        try restorer.run()
        #expect(restorer.remarks == [])
        let describe =
            "find . -print0 | sort -z | xargs -0 stat -c '%n|%N|%F|%a|%u:%g|%.9Y|%t:%T|%h'; find . ! -type d -print0 | sort -z | xargs -0 stat -c %s; find . -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex; find . -print0 | sort -z | xargs -0 getcap; getfacl -R -p -n . | grep -v '^#'; stat -c %b sparse; find . -type f -print0 | sort -z | xargs -0 sha256sum"
        let source = try shell(describe, in: directory.path + "/source").split(separator: "\n")
        let copy = try shell(describe, in: directory.path + "/copy").split(separator: "\n")
        #expect(source.count > 60)
        #expect(source.count == copy.count)
        for (left, right) in zip(source, copy) { #expect(left == right) }
        #expect(source.contains { $0.contains("setid cap_chown,cap_net_raw=ep") })
        #expect(source.contains { $0.contains("|6755|12:34|") })
        #expect(
            try shell("ls -di plain dir/hard | cut -d' ' -f1 | uniq | wc -l", in: directory.path + "/copy") == "1\n")
    }

    @Test(
        "What was there before and is not in the snapshot goes: attributes, inherited ACLs",
        .enabled(if: Privilege.isRoot, "capabilities need root"))
    func removesOthers() throws {
        let directory = try TemporaryDirectory()
        try shell(
            """
            mkdir t; setfacl -d -m u:5:rwx,m::rwx t; touch t/file; setfattr -n user.old -v x t/file
            setfattr -n user.kept -v old t/file; setcap cap_chown+ep t/file; chmod 666 t/file
            """, in: directory.path)
        #expect(try shell("getfacl -pn t/file", in: directory.path).contains("user:5:"))
        let handle = try directory.handle("t")
        let metadata = FileMetadata(
            type: .regular, permissions: 0o640,
            extendedAttributes: [
                ExtendedAttribute(name: "user.kept".bytes, value: "new".bytes)
            ])
        let writer = MetadataWriter(owners: owners, ownership: .unchanged)
        let without = MetadataWriter(owners: owners, ownership: .unchanged, includingExtendedAttributes: false)
        #expect(without.apply(metadata, to: "file".bytes, in: handle) == [])
        #expect(try shell("getfattr -d -m - t/file", in: directory.path).split(separator: "\n").count == 5)
        #expect(writer.apply(metadata, to: try FileWriter.openExisting(in: handle, name: "file".bytes)) == [])
        #expect(
            try shell("getfattr -d -m - t/file; stat -c %a t/file", in: directory.path)
                == "# file: t/file\nuser.kept=\"new\"\n\n640\n")
        #expect(writer.apply(FileMetadata(type: .directory, permissions: 0o700), to: handle) == [])
        #expect(try shell("getfattr -d -m - t", in: directory.path) == "")
    }

    @Test("Owners go by name where the name is known here, else by id", .enabled(if: Privilege.isRoot, "needs root"))
    func ownerNames() throws {
        let directory = try TemporaryDirectory()
        try directory.write("file", [])
        let handle = try directory.handle()
        let local = OwnerNames(users: "ann:x:2001:1::/:".bytes, groups: "staff:x:2002:".bytes)
        var metadata = FileMetadata(
            type: .regular, permissions: 0o600, userID: 11, groupID: 12, userName: "ann", groupName: "staff")
        func applied(_ ownership: MetadataWriter.Ownership) throws -> String {
            try shell("chown 0:0 file", in: directory.path)
            #expect(
                MetadataWriter(owners: local, ownership: ownership).apply(metadata, to: "file".bytes, in: handle) == [])
            return try shell("stat -c %u:%g file", in: directory.path)
        }
        #expect(try applied(.byName) == "2001:2002\n")
        #expect(try applied(.byID) == "11:12\n")
        #expect(try applied(.unchanged) == "0:0\n")
        metadata.userName = "bob"
        metadata.groupName = ""
        #expect(try applied(.byName) == "11:12\n")
    }

    @Test(
        "Without privilege the owner, set-id bits and devices are remarked upon and the rest is restored",
        .enabled(if: Privilege.isRoot, "changes its identity, which needs root"))
    func unprivileged() async throws {
        let directory = try TemporaryDirectory()
        try shell("mkdir t; chown 4242:4242 t; chmod 755 .", in: directory.path)
        let path = directory.bytes + "/t".bytes
        let names = owners
        let remarks = try await asUser(4242) { () throws -> [[RestoreRemark]] in
            let root = try RestoreTarget.open(path: path, create: false).root
            let writer = MetadataWriter(owners: names)
            func restore(_ name: String, _ metadata: FileMetadata) throws -> [RestoreRemark] {
                try makeFile(root, name, "x")
                return writer.apply(metadata, to: name.bytes, in: root)
            }
            let attribute = ExtendedAttribute(name: "user.a".bytes, value: [1])
            return [
                try restore(
                    "own",
                    FileMetadata(
                        type: .regular, permissions: 0o4444, userID: 4242, groupID: 4242,
                        modified: Timestamp(seconds: 9),
                        extendedAttributes: [attribute])),
                try restore(
                    "foreign",
                    FileMetadata(
                        type: .regular, permissions: 0o6755, userID: 0, groupID: 0, modified: Timestamp(seconds: 9),
                        extendedAttributes: [attribute])),
                try restore("group", FileMetadata(type: .regular, permissions: 0o2755, userID: 4242, groupID: 1)),
                [
                    try root.makeSpecialFile(
                        name: "device".bytes,
                        metadata: FileMetadata(type: .characterDevice, permissions: 0o600, deviceNumber: 0x103))
                ]
                .compactMap { $0 },
                [try root.makeSpecialFile(name: "fifo".bytes, metadata: FileMetadata(type: .fifo, permissions: 0o600))]
                    .compactMap { $0 },
            ]
        }
        #expect(remarks[0] == [])
        #expect(remarks[1].map(\.kind) == [.owner, .permissions])
        #expect(remarks[1].first?.description == "owner: 0:0 not set: Operation not permitted")
        #expect(remarks[1].first?.errno == .notPermitted)
        #expect(remarks[2].map(\.kind) == [.owner, .permissions])
        #expect(remarks[3].map(\.kind) == [.specialFile])
        #expect(remarks[4] == [])
        #expect(
            try shell(
                "stat -c '%n %a %u:%g %Y' own foreign; ls -1; getfattr -d -m user own foreign | grep -c =",
                in: directory.path + "/t")
                == "own 4444 4242:4242 9\nforeign 755 4242:4242 9\nfifo\nforeign\ngroup\nown\n2\n")
    }

    @Test(
        "A set-group-id bit that the kernel drops in silence is remarked upon",
        .enabled(if: Privilege.isRoot, "needs root"))
    func silentlyDropped() async throws {
        let directory = try TemporaryDirectory()
        try directory.write("file", [])
        try shell("chmod 755 .; chown 4242:1 file", in: directory.path)
        let handle = try directory.handle()
        let writer = MetadataWriter(owners: owners)
        let metadata = FileMetadata(type: .regular, permissions: 0o2755, userID: 4242, groupID: 1)
        let remarks = try await asUser(4242) { writer.apply(metadata, to: "file".bytes, in: handle) }
        #expect(remarks.map(\.kind) == [.permissions])
        #expect(try shell("stat -c '%a %u:%g' file", in: directory.path) == "755 4242:1\n")
        #expect(writer.apply(metadata, to: "file".bytes, in: handle) == [])
        #expect(try shell("stat -c '%a %u:%g' file", in: directory.path) == "2755 4242:1\n")
    }

    @Test("An owner without privilege gives the file to its own group", .enabled(if: Privilege.isRoot, "needs root"))
    func ownGroup() async throws {
        let directory = try TemporaryDirectory()
        try directory.write("file", [])
        try shell("chmod 755 .; chown 4242:1 file", in: directory.path)
        let handle = try directory.handle()
        let writer = MetadataWriter(owners: owners)
        let metadata = FileMetadata(type: .regular, permissions: 0o2750, userID: 7, groupID: 4242)
        let remarks = try await asUser(4242) { writer.apply(metadata, to: "file".bytes, in: handle) }
        #expect(remarks.map(\.description) == ["owner: user 7 not set: Operation not permitted"])
        #expect(try shell("stat -c '%a %u:%g' file", in: directory.path) == "2750 4242:4242\n")
    }

    @Test("What a file system refuses, and what no snapshot should hold, is a remark and no crash")
    func refused() throws {
        let directory = try TemporaryDirectory()
        try directory.write("file", [])
        try shell("mkfifo fifo", in: directory.path)
        let handle = try directory.handle()
        let writer = MetadataWriter(owners: owners, ownership: .byID)
        func kinds(_ name: String, _ metadata: FileMetadata) -> [RestoreRemark.Kind] {
            writer.apply(metadata, to: name.bytes, in: handle).map(\.kind)
        }
        let own = try handle.metadata(of: "file".bytes, owners: owners, includingExtendedAttributes: false)
        for name in ["nonsense.a".bytes, [], "user.a\0b".bytes, [UInt8](repeating: 0x75, count: 300), "user.".bytes] {
            var metadata = own
            metadata.extendedAttributes = [
                ExtendedAttribute(name: name, value: [1]), ExtendedAttribute(name: "user.good".bytes, value: [2]),
            ]
            #expect(kinds("file", metadata) == [.extendedAttribute])
            #expect(
                try shell("getfattr -n user.good file | grep -c good; setfattr -x user.good file", in: directory.path)
                    == "1\n")
        }
        var large = own
        large.extendedAttributes = [
            ExtendedAttribute(name: "user.large".bytes, value: [UInt8](repeating: 1, count: 1 << 20))
        ]
        #expect(kinds("file", large) == [.extendedAttribute])
        var access = own
        access.extendedAttributes = [
            ExtendedAttribute(name: "system.posix_acl_access".bytes, value: [9, 9, 9]),
            ExtendedAttribute(name: "security.capability".bytes, value: [1, 2, 3]),
        ]
        #expect(kinds("file", access) == [.extendedAttribute, .extendedAttribute])
        var pipe = own
        pipe.type = .fifo
        pipe.extendedAttributes = [ExtendedAttribute(name: "user.a".bytes, value: [1])]
        #expect(kinds("fifo", pipe) == [.extendedAttribute])
        #expect(kinds("none", own) == [.replaced])
        #expect(kinds("fifo", own) == [.replaced])
        #expect(kinds("../file", own) == [.replaced])
        var owner = own
        owner.userID = .max
        owner.permissions = 0xffff
        #expect(kinds("file", owner) == [.owner, .permissions])
        for time in [Int64.min, .max, -1] {
            var metadata = own
            metadata.modified = Timestamp(nanoseconds: time)
            #expect(kinds("file", metadata) == [])
        }
        #expect(try shell("stat -c %.9Y file", in: directory.path) == "-0.000000001\n")
    }
}

/// A restore in its simplest form: one thread, every file, metadata of directories last.
private struct TreeRestorer {
    let source: DirectoryHandle
    let target: DirectoryHandle
    var remarks: [RestoreRemark] = []
    private let owners = OwnerNames()
    private var links: [UInt64: (DirectoryHandle, [UInt8])] = [:]

    init(source: DirectoryHandle, target: DirectoryHandle) {
        self.source = source
        self.target = target
    }

    mutating func run() throws { try restore(source, target) }

    private mutating func restore(_ from: DirectoryHandle, _ to: DirectoryHandle) throws {
        let writer = MetadataWriter(owners: owners)
        for name in try from.names() {
            let metadata = try from.metadata(of: name, owners: owners, includingExtendedAttributes: true)
            if metadata.type != .directory, metadata.linkCount > 1 {
                if let (directory, first) = links[metadata.inode] {
                    remarks += [try to.makeHardLink(name: name, to: first, in: directory)].compactMap { $0 }
                    continue
                }
                links[metadata.inode] = (to, name)
            }
            switch metadata.type {
            case .directory:
                #expect(try to.makeDirectory(name: name))
                try restore(from.openDirectory(name: name), to.openDirectory(name: name))
                continue
            case .regular:
                let reader = try from.openFile(name: name)
                let file = try FileWriter.create(in: to, name: name)
                try file.setSize(metadata.size)
                for extent in try reader.extents() {
                    var bytes = [UInt8](repeating: 0, count: extent.count)
                    _ = try bytes.withUnsafeMutableBytes { try reader.read(at: extent.lowerBound, into: $0) }
                    try bytes.withUnsafeBytes { try file.write(at: extent.lowerBound, from: $0) }
                }
                remarks += writer.apply(metadata, to: file)
                #expect(!reader.changed(since: metadata))
                continue
            case .symbolicLink:
                remarks += [try to.makeSymbolicLink(name: name, target: metadata.linkTarget)].compactMap { $0 }
            default:
                remarks += [try to.makeSpecialFile(name: name, metadata: metadata)].compactMap { $0 }
            }
            remarks += writer.apply(metadata, to: name, in: to)
        }
        remarks += writer.apply(try from.ownMetadata(owners: owners, includingExtendedAttributes: true), to: to)
    }
}
