import Basics
import SystemPackage
import Testing

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

@Suite("Beginning a program", .timeLimit(.minutes(1)))
struct ProcessLaunchTests {
    /// What a script prints, and wait(2)'s status of its shell.
    private static func run(
        _ script: String, input: [UInt8]? = nil, _ set: (inout ProcessLaunch) -> Void = { _ in }
    ) throws -> (output: String, status: Int32) {
        var launch = ProcessLaunch(["/bin/sh", "-c", script], environment: ["PATH": "/usr/bin:/bin", "WORD": "given"])
        set(&launch)
        let (feed, pipe) = (try Pipe(), try Pipe())
        let process = try feed.handingOverReader { reader throws(Errno) in
            if input != nil { launch.input = .descriptor(reader) }
            return try pipe.handingOverWriter { writer throws(Errno) in
                launch.output = .descriptor(writer)
                return try launch.start()
            }
        }
        let fed = Result {
            try feed.handingOverWriter { writer in _ = try FileDescriptor(rawValue: writer).writeAll(input ?? []) }
        }
        let output = try pipe.readToEnd()
        let status = try ChildProcess.end(of: process)
        try fed.get()
        return (String(decoding: output, as: UTF8.self), status)
    }

    @Test("It has its three streams and no other descriptor of ours, even one that is open to all programs")
    func descriptors() throws {
        let open = try FileDescriptor.open("/dev/null", .readOnly)
        defer { try? open.close() }
        try #require(fcntl(open.rawValue, F_GETFD) & FD_CLOEXEC == 0)
        // The directory that is listed is open, too.
        let listing = try Self.run("exec ls -l /proc/self/fd").output
        let lines = listing.split(separator: "\n").filter { $0.contains(" -> ") }
        let names = lines.filter { !$0.contains("-> /proc/") }.map { $0.split(separator: " ").suffix(3).first ?? "" }
        #expect(names == ["0", "1", "2"], "\(lines)")
    }

    @Test("A pipe comes to its end once the program that was given it has ended, whatever another one has been given")
    func ends() throws {
        let pipe = try Pipe()
        var other = ProcessLaunch(["sleep", "1000"], environment: ["PATH": "/usr/bin:/bin"])
        other.output = .null
        let sleeper = try other.start()
        defer {
            kill(sleeper, SIGKILL)
            _ = try? ChildProcess.end(of: sleeper)
        }
        var launch = ProcessLaunch(["echo", "done"], environment: ["PATH": "/usr/bin:/bin"])
        let process = try pipe.handingOverWriter { writer throws(Errno) in
            launch.output = .descriptor(writer)
            return try launch.start()
        }
        #expect(try pipe.readToEnd() == Array("done\n".utf8))
        #expect(try ChildProcess.end(of: process) == 0)
    }

    @Test("No signal of ours is blocked in it, and a reader that goes ends it")
    func signals() throws {
        signal(SIGPIPE, SIG_IGN)  // As our commands do.
        let found = try Thread.withBlocked([SIGTERM, SIGINT]) {
            try Self.run("grep -E '^Sig(Blk|Ign)' /proc/self/status; yes | head -n 1; (exec 3>&1; yes >&3) | head -c 2")
        }
        let lines = found.output.split(separator: "\n")
        #expect(lines.first == "SigBlk:\t0000000000000000", "\(lines)")
        // A bit each, from 1 on.
        let ignored = lines.dropFirst().first.flatMap { UInt64($0.split(separator: "\t").last ?? "", radix: 16) }
        #expect(try #require(ignored) & 1 << (UInt64(SIGPIPE) - 1) == 0)
        #expect(found.status == 0)
    }

    @Test("It begins where it is told, with the environment, the input and the end it is given")
    func surroundings() throws {
        let found = try Self.run("pwd; echo $WORD; env | grep -c .; cat; exit 7", input: Array("text".utf8)) {
            $0.directory = "/usr"
        }
        let lines = found.output.split(separator: "\n")
        #expect(lines.first == "/usr" && lines.dropFirst().first == "given" && lines.last == "text", "\(lines)")
        #expect(found.status >> 8 & 0xff == 7)
    }

    @Test("One that is to outlive us leads a session of its own; another one is in ours")
    func detached() throws {
        let script = "read -r pid rest </proc/self/stat; echo $$ $(ps -o sid= -p $$)"
        let alone = try Self.run(script) { $0.isDetached = true }.output.split(whereSeparator: \.isWhitespace)
        #expect(alone.count == 2 && alone.first == alone.last)
        let ours = try Self.run(script).output.split(whereSeparator: \.isWhitespace)
        #expect(ours.last.flatMap { Int32($0) } == getsid(0))
    }

    @Test("Who ends without reading what it is given leaves nobody waiting")
    func unread() throws {
        signal(SIGPIPE, SIG_IGN)
        #expect(throws: Errno.brokenPipe) { try Self.run("exit 0", input: [UInt8](repeating: 0, count: 1 << 20)) }
    }

    @Test(
        "A helper that closes its output and runs on is killed when its time is over, and one that prints too much at once"
    )
    func limits() throws {
        let clock = ContinuousClock()
        let begun = clock.now
        for (script, seconds, words) in [
            ("exec >/dev/null 2>&1; exec sleep 1000", 1, "longer than 1 s"), ("exec sleep 1000", 1, "longer than 1 s"),
            ("yes", 600, "more than 1 KiB"), ("exit 3", 600, "exit status 3"), ("kill -9 $$", 600, "signal 9"),
        ] {
            let failure = #expect(throws: ChildProcess.Failure.self) {
                try ChildProcess.output(
                    of: "sh", ["-c", script], environment: ["PATH": "/usr/bin:/bin"], seconds: seconds,
                    maximumBytes: 1024)
            }
            #expect(failure?.description.contains(words) == true, "\(script): \(failure.debugDescription)")
        }
        #expect(clock.now - begun < .seconds(500))
        let said = try ChildProcess.output(
            of: "sh", ["-c", "echo done"], environment: ["PATH": "/usr/bin:/bin"], seconds: 600, maximumBytes: 1024)
        #expect(said == Array("done\n".utf8))
    }

    @Test("A program or a directory that is not there is said, and no process is left")
    func missing() {
        #expect(throws: Errno.noSuchFileOrDirectory) { try ProcessLaunch(["/no/such"], environment: [:]).start() }
        var launch = ProcessLaunch(["/bin/true"], environment: [:])
        launch.directory = "/no/such"
        #expect(throws: Errno.noSuchFileOrDirectory) { try launch.start() }
        launch = ProcessLaunch(["/bin/true"], environment: [:])
        launch.output = .appended("/no/such/file")
        #expect(throws: Errno.noSuchFileOrDirectory) { try launch.start() }
    }

    @Test("Of what comes through a pipe no more is kept than is asked for; the rest is read")
    func keeping() throws {
        let pipe = try Pipe()
        var launch = ProcessLaunch(["head", "-c", "300000", "/dev/zero"], environment: ["PATH": "/usr/bin:/bin"])
        let process = try pipe.handingOverWriter { writer throws(Errno) in
            launch.output = .descriptor(writer)
            return try launch.start()
        }
        #expect(try pipe.readToEnd(keeping: 70_000).count == 70_000)
        #expect(try ChildProcess.end(of: process) == 0)
    }

    @Test("A pipe whose end is closed wakes nobody and harms nobody")
    func closed() throws {
        let pipe = try Pipe()
        pipe.wake()
        pipe.closeWriter()
        pipe.closeWriter()
        pipe.wake()
        #expect(try pipe.readToEnd() == [0])
    }
}

private enum Thread {
    /// Runs `body` with signals blocked in this thread.
    static func withBlocked<R>(_ signals: [Int32], _ body: () throws -> R) rethrows -> R {
        var (set, before) = (sigset_t(), sigset_t())
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        return try body()
    }
}
