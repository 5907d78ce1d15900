internal import Basics

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Waits for a descriptor to become readable, in a task that can be cancelled meanwhile.
enum DescriptorWait {
    /// Whether `descriptor` is readable, or at its end, within `seconds`; -1 for one that never is. Throws
    /// `CancellationError`.
    static func isReadable(_ descriptor: Int32, seconds: Double) async throws -> Bool {
        let waking = try Pipe()
        return try await withTaskCancellationHandler {
            try await BlockingBridge.offload(name: "becalm-wait") {
                Result { try wait(descriptor, waking, seconds) }
            }
        } onCancel: {
            waking.wake()
        }
    }

    private static func wait(_ descriptor: Int32, _ waking: Pipe, _ seconds: Double) throws -> Bool {
        let clock = ContinuousClock()
        let end = clock.now.advanced(by: .seconds(max(0, min(seconds, 1e9))))
        while true {
            let left = clock.now.duration(to: end) / .milliseconds(1)
            var looks = [
                pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: waking.reader, events: Int16(POLLIN), revents: 0),
            ]
            // An hour at a time: the argument has an end.
            let count = poll(&looks, 2, Int32(max(0, min(left.rounded(.up), 3_600_000))))
            guard count >= 0 || errno == EINTR else { throw HostFile.Failure() }
            if count > 0, looks[0].revents != 0 { return true }
            if count > 0, looks[1].revents != 0 { throw CancellationError() }
            if left <= 0 { return false }
        }
    }
}
