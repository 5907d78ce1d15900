internal import CProcessShims
package import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// How a program is begun: with three streams and no other descriptor of ours, no signal blocked, and SIGPIPE as it is by
/// default. What threads of ours have open meanwhile (a lock, the end of another program's pipe) never lives on in it.
package struct ProcessLaunch: Sendable {
    /// What one of its three streams is.
    package enum Stream: Sendable, Equatable {
        /// What is ours under the same number.
        case inherited
        /// /dev/null.
        case null
        /// A descriptor of ours.
        case descriptor(CInt)
        /// The end of the file at this path, which is made for its user alone.
        case appended(String)
    }

    /// Its name for itself, and its arguments.
    package var words: [String]
    /// Where it is; nil looks for the first word on `PATH` unless that holds a slash.
    package var program: String?
    package var environment: [String: String]
    /// Where it begins; nil for where we are.
    package var directory: String?
    package var input = Stream.null
    package var output = Stream.inherited
    package var error = Stream.inherited
    /// Whether it is to outlive us: in a session of its own, with no signal ignored.
    package var isDetached = false

    /// A launch of `words`, without input and with our output and error.
    package init(_ words: [String], environment: [String: String]) {
        self.words = words
        self.environment = environment
    }

    /// Begins it; the caller has to wait for the process that is answered. Throws the system's error: that of the program
    /// or the directory that is not there, too. Blocks for a moment.
    package func start() throws(Errno) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        var codes = [place(input, as: STDIN_FILENO, &actions), place(output, as: STDOUT_FILENO, &actions)]
        codes.append(place(error, as: STDERR_FILENO, &actions))
        if let directory { codes.append(-ps_spawn_in(&actions, directory)) }
        try closeOthers(&actions)
        codes.append(setSignals(&attributes))
        if let code = codes.first(where: { $0 != 0 }) { throw Errno(rawValue: code) }
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in arguments + variables { free(text) } }
        var process: pid_t = 0
        let code = posix_spawnp(&process, program ?? words[0], &actions, &attributes, &arguments, &variables)
        guard code == 0 else { throw Errno(rawValue: code) }
        return process
    }

    private func place(_ stream: Stream, as number: CInt, _ actions: inout posix_spawn_file_actions_t) -> CInt {
        switch stream {
        case .inherited: 0
        case .null:
            posix_spawn_file_actions_addopen(
                &actions, number, "/dev/null", number == STDIN_FILENO ? O_RDONLY : O_WRONLY, 0)
        case .descriptor(let ours): posix_spawn_file_actions_adddup2(&actions, ours, number)
        case .appended(let path):
            posix_spawn_file_actions_addopen(&actions, number, path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        }
    }

    /// Ours are blocked for a thread that waits for them, which the program does not have.
    private func setSignals(_ attributes: inout posix_spawnattr_t) -> CInt {
        var blocked = sigset_t()
        var defaults = sigset_t()
        sigemptyset(&blocked)
        sigemptyset(&defaults)
        if isDetached { sigfillset(&defaults) } else { sigaddset(&defaults, SIGPIPE) }
        posix_spawnattr_setsigmask(&attributes, &blocked)
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        let flags = Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) | (isDetached ? Self.newSession : 0)
        return posix_spawnattr_setflags(&attributes, flags)
    }

    /// POSIX_SPAWN_SETSID, of glibc and musl.
    private static let newSession: Int16 = 0x80

    /// In the program, not here; so whatever is opened until it begins is closed, too. Where the C library cannot, what is
    /// open now is closed: nearly as good, as all that we open is closed on exec.
    private func closeOthers(_ actions: inout posix_spawn_file_actions_t) throws(Errno) {
        let code = -ps_spawn_close_from(&actions, STDERR_FILENO + 1)
        if code == 0 { return }
        guard code == ENOSYS else { throw Errno(rawValue: code) }
        for descriptor in try Self.openDescriptors() {
            let code = posix_spawn_file_actions_addclose(&actions, descriptor)
            guard code == 0 else { throw Errno(rawValue: code) }
        }
    }

    /// Every descriptor that is open now but the three streams (proc_pid_fd(5)).
    private static func openDescriptors() throws(Errno) -> [CInt] {
        guard let stream = opendir("/proc/self/fd") else { throw Errno(rawValue: errno) }
        defer { closedir(stream) }
        let own = dirfd(stream)
        var found: [CInt] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { name in
                String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let descriptor = CInt(name), descriptor > STDERR_FILENO, descriptor != own { found.append(descriptor) }
        }
        return found
    }
}
