import Commands
import Foundation
import ObjectStorageTesting
import Orchestration
import Testing

/// The built executable, for what only a process shows: signals, pipes, terminals, raw arguments.
@Suite("The becalm executable")
struct BinaryTests {
    /// Beside the test bundle.
    static let binary: String = {
        let bundle = Bundle.allBundles.first { $0.bundlePath.hasSuffix(".xctest") }?.bundlePath
        let start = bundle ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: start).deletingLastPathComponent().appendingPathComponent("becalm").path
    }()

    private func script(_ world: World, _ text: String) throws -> (status: Int32, output: String) {
        try execute(
            "/bin/bash", ["-c", text], in: world.path,
            environment: world.environment.merging(["BECALM": Self.binary, "KEY": world.path("key")]) { $1 })
    }

    @Test("It does the whole journey, and ends with the documented numbers")
    func journey() throws {
        let world = try World()
        try world.write("source/x", "x")
        let run = try script(
            world,
            """
            set -e
            $BECALM init --key-file $KEY; $BECALM backup source --key-file $KEY
            $BECALM restore latest --target out --key-file $KEY; diff -r source out/source
            set +e
            $BECALM snapshots --repository /nowhere --key-file $KEY; echo "status $?"
            $BECALM nonsense; echo "status $?"
            $BECALM snapshots --key-file $BECALM; echo "status $?"
            """)
        #expect(run.status == 0)
        #expect(run.output.matches(of: /status (\d+)/).map(\.1) == ["10", "64", "64"], "\(run.output)")
    }

    @Test("A reader that has gone ends a listing quietly, and fails nobody")
    func brokenPipe() throws {
        let world = try World()
        for number in 0..<500 { try world.write("source/\(number)", "\(number)") }
        let run = try script(
            world,
            """
            set -e -o pipefail
            $BECALM init --key-file $KEY >/dev/null; $BECALM backup source --key-file $KEY >/dev/null
            $BECALM show latest -R -l --key-file $KEY | (exec <&-; true)
            $BECALM backup source --key-file $KEY --json | (exec <&-; true)
            $BECALM manifest latest --key-file $KEY | head -c 1
            """)
        #expect(run.status == 0, "\(run.output)")
        #expect(run.output == "{")
    }

    @Test("What cannot be written to standard output is a failure, unless the reader has gone")
    func fullOutput() throws {
        let world = try World()
        for number in 0..<2000 { try world.write("source/\(number)", "\(number)") }
        let run = try script(
            world,
            """
            set -e
            $BECALM init --key-file $KEY >/dev/null; $BECALM backup source --key-file $KEY >/dev/null
            set +e
            $BECALM --help >/dev/full; echo "status $?"
            for what in "manifest latest --format sha256sum" "show latest -R --json" snapshots "backup source --json"; do
              $BECALM $what --key-file $KEY >/dev/full; echo "status $?"
            done
            $BECALM snapshots --key-file $KEY >&-; echo "status $?"
            """)
        #expect(
            run.output.matches(of: /status (\d+)/).map(\.1) == ["16", "16", "16", "16", "16", "1"], "\(run.output)")
        #expect(run.output.matches(of: /cannot write to standard output: No space left/).count == 5, "\(run.output)")
        #expect(run.output.matches(of: /cancelled/).isEmpty)
    }

    @Test("An argument that is not UTF-8 names the file that it names")
    func rawArguments() throws {
        let world = try World()
        let run = try script(
            world,
            """
            set -e
            name=$(printf 'dir\\377'); mkdir "$name"; echo hello > "$name/x"
            $BECALM init --key-file $KEY; $BECALM backup "$name" --key-file $KEY
            $BECALM restore latest --target out --key-file $KEY; cat "out/$name/x"
            $BECALM show latest "$name" --key-file $KEY
            """)
        #expect(run.status == 0, "\(run.output)")
        #expect(run.output.contains("hello"))
        #expect(run.output.contains("dir\\xff/x"))
    }

    @Test(
        "A signal ends a backup cleanly with its number, and the next one goes on",
        arguments: [("INT", 130), ("TERM", 143)])
    func signals(name: String, status: Int) throws {
        let world = try World()
        // A source that takes a while, and a line on standard error once the backup has begun to write.
        let run = try script(
            world,
            """
            set -e
            mkdir source; head -c 60000000 /dev/urandom > source/big; echo small > source/small
            $BECALM init --key-file $KEY
            set +e
            mkfifo log
            env --default-signal=INT $BECALM backup source --key-file $KEY -vv --json 2>log & child=$!
            {
              while read -r line; do case $line in *"key=sessions/"*) kill -\(name) $child; break;; esac; done
              grep cancelled
            } <log
            wait $child; echo "status $?"
            set -e
            $BECALM snapshots --key-file $KEY
            $BECALM backup source --key-file $KEY; $BECALM restore latest --target out --key-file $KEY
            cmp source/big out/source/big
            """)
        #expect(run.status == 0, "\(run.output)")
        #expect(run.output.contains("status \(status)\n"), "\(run.output)")
        #expect(run.output.contains("{\"type\":\"error\",\"code\":\(status),\"kind\":\"cancelled\""), "\(run.output)")
        #expect(run.output.contains("0 snapshots"))
    }

    @Test("The second signal ends a backup at once, which waits for a slow line; the next one goes on")
    func secondSignal() throws {
        let world = try World()
        let run = try script(
            world,
            """
            set -e
            mkdir source; head -c 30000000 /dev/urandom > source/big
            $BECALM init --key-file $KEY
            mkfifo log
            env --default-signal=INT $BECALM backup source --key-file $KEY -vv --limit-upload 1K 2>log & child=$!
            {
              while read -r line; do case $line in *"key=sessions/"*) kill -INT $child; break;; esac; done
              while grep -q becalm /proc/$child/comm 2>/dev/null; do kill -INT $child 2>/dev/null || true; done
            } <log
            wait $child || echo "status $?"
            $BECALM backup source --key-file $KEY >/dev/null; $BECALM verify --depth full --key-file $KEY
            """)
        #expect(run.status == 0, "\(run.output)")
        #expect(run.output.contains("status 130"), "\(run.output)")
        #expect(run.output.contains("no damage found"))
    }

    @Test("A signal that was ignored at the start is ignored: a job in the background")
    func ignoredSignal() throws {
        let world = try World()
        let run = try script(
            world,
            """
            set -e
            mkdir source; head -c 20000000 /dev/urandom > source/big
            $BECALM init --key-file $KEY
            mkfifo log
            env --ignore-signal=INT $BECALM backup source --key-file $KEY -vv 2>log & child=$!
            {
              while read -r line; do case $line in *"key=sessions/"*) kill -INT $child; break;; esac; done
              cat >/dev/null
            } <log
            wait $child; echo "status $?"
            """)
        #expect(run.output.contains("status 0"), "\(run.output)")
    }

    @Test(
        "On a terminal the password is asked for without showing it, twice when it is new, and Ctrl-C ends the question"
    )
    func prompt() throws {
        let world = try World()
        let python = "/usr/bin/python3"
        try #require(FileManager.default.isExecutableFile(atPath: python), "python3 drives the terminal")
        try world.write(
            "drive.py",
            """
            import os, pty, sys
            def run(arguments, answers):
                pid, terminal = pty.fork()
                if pid == 0:
                    os.execv(os.environ["BECALM"], ["becalm"] + arguments)
                seen = b""
                asked = 0
                while True:
                    try: piece = os.read(terminal, 4096)
                    except OSError: break
                    if not piece: break
                    seen += piece
                    while asked < len(answers) and seen.count(b": ") > asked and seen.rstrip(b" ").endswith(b":"):
                        os.write(terminal, answers[asked].encode())
                        asked += 1
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                print(arguments[0], "asked", asked, "status", status)
                sys.stdout.write(seen.decode(errors="replace"))
            run(["init"], ["hidden words\\n", "other words\\n"])
            run(["init"], ["hidden words\\n", "hidden words\\n"])
            run(["snapshots"], ["hidden words\\n"])
            run(["snapshots"], ["guess\\n"])
            run(["snapshots"], ["\\x03"])
            """)
        let run = try execute(
            python, ["drive.py"], in: world.path,
            environment: world.environment.merging(["BECALM": Self.binary]) { $1 })
        #expect(run.status == 0, "\(run.output)")
        let ends = run.output.matches(of: /(\w+) asked (\d) status (\d+)/).map { "\($0.1) \($0.2) \($0.3)" }
        #expect(
            ends == ["init 2 64", "init 2 0", "snapshots 1 0", "snapshots 1 12", "snapshots 1 130"], "\(run.output)")
        #expect(!run.output.contains("words\n"))
        #expect(!run.output.contains("hidden"))
    }

    @Test("Without a terminal and without a password nobody waits for one")
    func noTerminal() throws {
        let world = try World()
        let run = try script(
            world,
            """
            setsid -w $BECALM init </dev/null; echo status $?; $BECALM init --key-file $KEY
            setsid -w $BECALM key add --key-file $KEY </dev/null; echo status $?
            """)
        #expect(run.output.matches(of: /status (\d+)/).map(\.1) == ["64", "64"], "\(run.output)")
        #expect(
            run.output.contains("--password-file, BECALM_PASSWORD, BECALM_PASSWORD_FILE or BECALM_PASSWORD_COMMAND"))
        #expect(run.output.contains("use --new-password-file, BECALM_NEW_PASSWORD, "))
    }

    @Test("Progress is drawn on a terminal only, and not when it should be quiet")
    func progress() throws {
        let world = try World()
        let python = "/usr/bin/python3"
        try #require(FileManager.default.isExecutableFile(atPath: python), "python3 drives the terminal")
        try world.write(
            "drive.py",
            """
            import os, pty
            def run(arguments):
                pid, terminal = pty.fork()
                if pid == 0:
                    os.execv(os.environ["BECALM"], ["becalm"] + arguments + ["--key-file", os.environ["KEY"]])
                seen = b""
                while True:
                    try: piece = os.read(terminal, 4096)
                    except OSError: break
                    if not piece: break
                    seen += piece
                os.waitpid(pid, 0)
                return b"backing up" in seen
            print(run(["backup", "source"]), run(["backup", "source", "--quiet"]))
            """)
        let run = try script(
            world,
            """
            set -e; mkdir source; head -c 20000000 /dev/urandom > source/big
            $BECALM init --key-file $KEY >/dev/null; \(python) drive.py
            head -c 20000000 /dev/urandom > source/big; $BECALM backup source --key-file $KEY
            """)
        #expect(run.status == 0, "\(run.output)")
        #expect(run.output.hasPrefix("True False\n"), "\(run.output)")
        #expect(!run.output.contains("backing up"))
    }

    @Test("A directory that may not be written to is refused as such")
    func readOnly() throws {
        let world = try World()
        try world.write("source/x", "x")
        let run = try script(
            world,
            """
            set -e
            cp $BECALM becalm; chmod 755 . becalm; chmod 644 key
            ./becalm init --key-file $KEY; ./becalm backup source --key-file $KEY
            chmod -R a+rX repository
            set +e
            user=; if [ $(id -u) = 0 ]; then user="setpriv --reuid=65534 --regid=65534 --clear-groups"; else chmod -R a-w repository; fi
            $user ./becalm snapshots --key-file $KEY --cache-dir none; echo "reading $?"
            $user ./becalm backup source --key-file $KEY --cache-dir none; echo "writing $?"
            chmod -R u+w repository
            """)
        #expect(run.output.contains("reading 0"), "\(run.output)")
        #expect(run.output.contains("writing 14"), "\(run.output)")
    }
}
