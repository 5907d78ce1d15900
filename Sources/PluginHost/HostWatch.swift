internal import Basics

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Notices that the host is gone, which may die without a word: a plugin that lives on would hold memory for ever.
///
/// The host reads our standard output until we end: when the pipe has no reader any more, the host has ended. (The kernel's
/// death signal would come whenever the thread of the host ends that started us, and Go's threads come and go.)
package enum HostWatch {
    /// Starts a thread that calls `gone` once, when the host has ended. It waits in the kernel and costs nothing.
    package static func start(output: CInt = STDOUT_FILENO, gone: @escaping @Sendable () -> Void) {
        let parent = getppid()
        WorkerThreads(count: 1, name: "becalm-host", stackBytes: 256 << 10) { _ in
            wait(output: output, parent: parent)
            gone()
        }.detach()
    }

    /// Returns when nobody reads `output`, or, where that is no pipe, within a minute of the parent's end.
    private static func wait(output: CInt, parent: pid_t) {
        var status = stat()
        let isPipe = fstat(output, &status) == 0 && (status.st_mode & S_IFMT) == S_IFIFO
        // Errors are told unasked; a negative descriptor is passed over.
        var watched = pollfd(fd: isPipe ? output : -1, events: 0, revents: 0)
        while getppid() == parent {
            let count = poll(&watched, 1, isPipe ? -1 : 60_000)
            if count > 0 { return }
            if count < 0, errno != EINTR, errno != EAGAIN { return }
        }
    }
}
