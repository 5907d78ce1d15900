internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Threads of our own for work that blocks or computes long: the cooperative pool stays free.
///
/// The owner starts them with their body and joins or detaches them; a thread ends when its body returns.
package final class WorkerThreads: @unchecked Sendable {
    private var threads: [pthread_t] = []

    private final class Start: Sendable {
        let body: @Sendable () -> Void
        init(body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Starts `count` threads that each run `body(index)` once; `name` shows in debuggers (15 characters at most). The
    /// stack takes memory as far as it is used; trees are up to 4,096 directories deep, and are walked back by calls.
    package init(count: Int, name: String, stackBytes: Int = 64 << 20, body: @escaping @Sendable (Int) -> Void) {
        for index in 0..<count {
            let start = Start {
                Self.setName(name)
                body(index)
            }
            var attributes = pthread_attr_t()
            pthread_attr_init(&attributes)
            pthread_attr_setstacksize(&attributes, stackBytes)
            var thread = pthread_t()
            let context = Unmanaged.passRetained(start).toOpaque()
            let code = pthread_create(
                &thread, &attributes,
                { raw in
                    guard let raw = raw else { return nil }
                    Unmanaged<Start>.fromOpaque(raw).takeRetainedValue().body()
                    return nil
                }, context)
            pthread_attr_destroy(&attributes)
            precondition(code == 0, "pthread_create failed with errno \(code): the process may start no more threads")
            threads.append(thread)
        }
    }

    /// Names the calling thread as the kernel shows it; a failure changes nothing but what a debugger says.
    private static func setName(_ name: String) {
        guard let file = try? FileDescriptor.open("/proc/thread-self/comm", .writeOnly) else { return }
        defer { try? file.close() }
        _ = try? file.writeAll(name.utf8.prefix(15))
    }

    /// Leaves the threads to themselves: each one's stack is freed when its body returns. Instead of `join`, once.
    package func detach() {
        for thread in threads { pthread_detach(thread) }
        threads = []
    }

    /// Waits until every body has returned. Call once, from a thread that may block.
    package func join() {
        for thread in threads { pthread_join(thread, nil) }
        threads = []
    }
}
