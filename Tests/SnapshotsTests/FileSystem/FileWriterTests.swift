import Basics
import RepositoryFormat
import Snapshots
import Synchronization
import Testing

@Suite("Writing files")
struct FileWriterTests {
    @Test("Threads write their parts, in place too, and holes stay holes")
    func writing() throws {
        let directory = try TemporaryDirectory()
        let handle = try directory.handle()
        let writer = try FileWriter.create(in: handle, name: "file".bytes)
        #expect(try shell("stat -c %a file", in: directory.path) == "600\n")
        try writer.setSize(64 << 20)
        #expect(try writer.preallocate(0..<4 << 20))
        #expect(try writer.size() == 64 << 20)
        let block = 256 << 10
        let workers = WorkerThreads(count: 4, name: "writer") { worker in
            for index in stride(from: worker, to: 16, by: 4) {
                let bytes = [UInt8](repeating: UInt8(index + 1), count: block)
                try? bytes.withUnsafeBytes { try writer.write(at: UInt64(index * block), from: $0) }
            }
        }
        workers.join()
        #expect(try writer.punchHole(1 << 20..<2 << 20))
        try writer.synchronize()
        var bytes = [UInt8](repeating: 0xee, count: 5 << 20)
        #expect(try bytes.withUnsafeMutableBytes { try writer.read(at: 0, into: $0) } == 5 << 20)
        for index in 0..<20 {
            let expected = index < 16 && !(4..<8).contains(index) ? UInt8(index + 1) : 0
            #expect(bytes[(index * block)..<((index + 1) * block)].allSatisfy { $0 == expected }, "block \(index)")
        }
        try writer.close()
        try writer.close()
        #expect(code { try writer.setSize(0) } == .failed)
        let reader = try handle.openFile(name: "file".bytes)
        #expect(try reader.extents() == [0..<1 << 20, 2 << 20..<4 << 20])
        #expect(try shell("du -k file | cut -f1", in: directory.path).dropLast() == "3072")

        let again = try FileWriter.openExisting(in: handle, name: "file".bytes)
        try "new".bytes.withUnsafeBytes { try again.write(at: 10, from: $0) }
        try again.setSize(20)
        #expect(try shell("od -An -c file | tr -d ' \\n'", in: directory.path) == expectedDump)
        #expect(try again.read(at: 100, into: UnsafeMutableRawBufferPointer(start: nil, count: 0)) == 0)
        try again.close()
    }

    @Test(
        "Past the page cache any piece lands where it belongs, whatever its place and length", arguments: [true, false])
    func direct(bypassing: Bool) throws {
        let directory = try TemporaryDirectory()
        let writer = try FileWriter.create(in: directory.handle(), name: "file".bytes)
        var content = (0..<3_000_001).map { _ in UInt8.random(in: 0...255) }
        try writer.setSize(UInt64(content.count))
        if bypassing { #expect(writer.bypassPageCache()) }
        let pool = BufferPool(bufferCapacity: 64 << 10, limit: 2)
        var cuts = (0..<200).map { _ in Int.random(in: 0...content.count) }
        // Blocks, their neighbours, and nothing at all.
        cuts += [0, 1, 4095, 4096, 4097, 8192, 8192, 131_072, 1 << 20, (1 << 20) + 1, content.count]
        cuts.sort()
        let pieces = Array(zip(cuts, cuts.dropFirst()))
        let whole = Buffer(content)
        let failures = Mutex(0)
        WorkerThreads(count: 4, name: "writer") { worker in
            for index in stride(from: worker, to: pieces.count, by: 4) {
                let (start, end) = pieces[index]
                let part = UnsafeRawBufferPointer(rebasing: whole.bytes[start..<end])
                do { try writer.write(at: UInt64(start), from: part, through: pool) } catch {
                    failures.withLock { $0 += 1 }
                }
            }
        }.join()
        #expect(failures.withLock { $0 } == 0)
        #expect(try writer.size() == UInt64(content.count))
        try writer.close()
        let reader = try directory.handle().openFile(name: "file".bytes)
        let count = try content.withUnsafeMutableBytes { try reader.read(at: 0, into: $0) }
        #expect(count == whole.count && content == whole.array())
    }

    private var expectedDump: String {
        String(repeating: "001", count: 10) + "new" + String(repeating: "001", count: 7)
    }

    @Test("Offsets that no file has are refused, not wrapped")
    func offsets() throws {
        let directory = try TemporaryDirectory()
        let writer = try FileWriter.create(in: directory.handle(), name: "file".bytes)
        let byte: [UInt8] = [1]
        for offset in [UInt64.max, UInt64(Int64.max), 1 << 62] {
            #expect(code { try byte.withUnsafeBytes { try writer.write(at: offset, from: $0) } } == .targetUnwritable)
        }
        #expect(code { try writer.setSize(.max) } == .targetUnwritable)
        #expect(code { try writer.preallocate(0..<UInt64.max) } == .targetUnwritable)
        #expect(code { try writer.punchHole(UInt64.max - 1..<UInt64.max) } == .targetUnwritable)
        #expect(try writer.size() == 0)
    }

    @Test("A full disk is told as such", .enabled(if: Privilege.mayMount, "mounting a tmpfs is not permitted here"))
    func fullDisk() throws {
        let directory = try TemporaryDirectory()
        try shell("mkdir small; mount -t tmpfs -o size=1m,nr_inodes=5 becalm-test small", in: directory.path)
        defer { #expect(throws: Never.self) { try shell("umount small", in: directory.path) } }
        do {
            let target = try directory.target("small")
            let writer = try FileWriter.create(in: target.root, name: "file".bytes)
            let bytes = [UInt8](repeating: 7, count: 2 << 20)
            let told = #expect(throws: SnapshotError.self) {
                try bytes.withUnsafeBytes { try writer.write(at: 0, from: $0) }
            }
            #expect(told?.code == .noSpace)
            #expect(told?.message.contains("small/file: No space left on device; free some space") == true)
            try writer.setSize(0)
            #expect(code { try writer.preallocate(0..<2 << 20) } == .noSpace)
            try writer.setSize(1 << 40)
            _ = try target.directory(["a".bytes], create: true)
            #expect(
                code { for index in 0..<5 { _ = try target.directory(["d\(index)".bytes], create: true) } } == .noSpace)
            #expect(code { for index in 0..<5 { try makeFile(target.root, "f\(index)", "") } } == .noSpace)
            #expect(code { _ = try target.root.makeSymbolicLink(name: "l".bytes, target: "t".bytes) } == .noSpace)
        }
    }

    @Test(
        "Where holes cannot be made, zeros are written, within the file",
        .enabled(if: Privilege.mayMount, "mounting a ramfs is not permitted here"))
    func zeros() throws {
        let directory = try TemporaryDirectory()
        // ramfs has no fallocate.
        try shell("mkdir ram; mount -t ramfs becalm-test ram", in: directory.path)
        defer { #expect(throws: Never.self) { try shell("umount ram", in: directory.path) } }
        do {
            let writer = try FileWriter.create(in: directory.handle("ram"), name: "file".bytes)
            let bytes = [UInt8](repeating: 7, count: 200_000)
            try bytes.withUnsafeBytes { try writer.write(at: 0, from: $0) }
            #expect(try !writer.preallocate(0..<1 << 20))
            #expect(try !writer.punchHole(10..<150_000))
            #expect(try !writer.punchHole(199_999..<1 << 20))
            var back = [UInt8](repeating: 1, count: 300_000)
            #expect(try back.withUnsafeMutableBytes { try writer.read(at: 0, into: $0) } == 200_000)
            #expect(back[..<10].allSatisfy { $0 == 7 })
            #expect(back[10..<150_000].allSatisfy { $0 == 0 })
            #expect(back[150_000..<199_999].allSatisfy { $0 == 7 })
            #expect(back[199_999] == 0)
        }
    }

    @Test("Entries are made once, renamed over a file, and removed")
    func entries() throws {
        let directory = try TemporaryDirectory()
        let root = try directory.target("t").root
        try makeFile(root, "a", "new")
        try makeFile(root, "b", "old")
        try root.rename("a".bytes, to: "b".bytes)
        #expect(try shell("cat t/b", in: directory.path) == "new")
        #expect(try root.makeHardLink(name: "c".bytes, to: "b".bytes, in: root) == nil)
        #expect(try shell("stat -c %h t/b", in: directory.path) == "2\n")
        #expect(code { _ = try root.makeHardLink(name: "c".bytes, to: "b".bytes, in: root) } == .alreadyExists)
        #expect(code { _ = try root.makeHardLink(name: "d".bytes, to: "none".bytes, in: root) } == .targetMissing)
        #expect(try root.makeDirectory(name: "dir".bytes))
        #expect(try !root.makeDirectory(name: "dir".bytes))
        #expect(try root.makeHardLink(name: "e".bytes, to: "dir".bytes, in: root)?.kind == .hardLink)
        #expect(try root.makeSymbolicLink(name: "l".bytes, target: "../../..".bytes) == nil)
        #expect(code { _ = try root.makeSymbolicLink(name: "l".bytes, target: "x".bytes) } == .alreadyExists)
        #expect(code { _ = try root.makeSymbolicLink(name: "m".bytes, target: []) } == .damaged)
        #expect(code { _ = try root.makeSymbolicLink(name: "m".bytes, target: "a\0b".bytes) } == .damaged)
        let regular = FileMetadata(type: .regular, permissions: 0)
        #expect(code { _ = try root.makeSpecialFile(name: "s".bytes, metadata: regular) } == .invalidArgument)
        #expect(try root.type(of: "l".bytes) == .symbolicLink)
        #expect(try root.type(of: "none".bytes) == nil)
        try makeFile(root.openDirectory(name: "dir".bytes), "x", "")
        #expect(code { try root.removeDirectory(name: "dir".bytes) } == .targetNotEmpty)
        #expect(try root.openDirectory(name: "dir".bytes).remove(name: "x".bytes))
        #expect(try root.removeDirectory(name: "dir".bytes))
        #expect(try !root.removeDirectory(name: "dir".bytes))
        #expect(try !root.remove(name: "x".bytes))
        try root.synchronize()
        #expect(try root.names() == ["b".bytes, "c".bytes, "l".bytes])
    }
}
