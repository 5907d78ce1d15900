internal import CProcessShims

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A process that outlives us: in a session of its own, with no signal blocked or ignored, whose output goes to a file.
struct DetachedProcess: Sendable {
    let identity: ProcessIdentity

    /// Starts `words` (looked for on PATH unless the first holds a slash, or `program` says where it is) in `directory`. `input` becomes its standard input;
    /// nil for none. `log` is appended to. It is a child of ours until we end.
    init(
        _ words: [String], program: String? = nil, environment: [String: String], directory: String, input: Int32?,
        log: String
    ) throws(QuiesceError) {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        if let input {
            posix_spawn_file_actions_adddup2(&actions, input, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        _ = ps_spawn_in(&actions, directory)
        // Ours are blocked for a thread that waits for them; nobody else would ever see them.
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) | Self.newSession)
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in arguments + variables { free(text) } }
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, program ?? words[0], &actions, &attributes, &arguments, &variables)
        guard code == 0 else {
            throw QuiesceError(.notResumed, "cannot start `\(words[0])` in \(directory): \(HostFile.Failure(code))")
        }
        // Not reaped yet, so its number is its own.
        identity = ProcessIdentity(pid: pid, start: ProcessTable.entry(pid)?.identity.start ?? 0)
    }

    /// POSIX_SPAWN_SETSID, of glibc and musl.
    private static let newSession: Int16 = 0x80

    /// How it ended, in words and whether well; nil when it has not within `seconds`. Blocks.
    func end(within seconds: Double) -> (isGood: Bool, words: String)? {
        let clock = ContinuousClock()
        let end = clock.now.advanced(by: .seconds(seconds))
        while true {
            var status: Int32 = 0
            let found = waitpid(identity.pid, &status, WNOHANG)
            if found == identity.pid {
                let signal = status & 0x7f
                let code = status >> 8 & 0xff
                return (status == 0, signal == 0 ? "exit code \(code)" : "signal \(signal)")
            }
            // Somebody else has reaped it.
            if found < 0, errno != EINTR { return (true, "an end that nobody saw") }
            guard clock.now < end else { return nil }
            // Its end wakes nobody but by a signal, which a library must not take.
            var nothing = pollfd(fd: -1, events: 0, revents: 0)
            _ = poll(&nothing, 1, 20)
        }
    }
}
