internal import Basics
internal import Orchestration
internal import Snapshots

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Redraws a line of progress on the console, five times a second, from a thread of its own.
final class ProgressDisplay: Sendable {
    private let thread: WorkerThreads
    /// Wakes the thread.
    private let waking: Pipe

    /// Starts drawing. Nil where there is no terminal, or the user wants none, or the system has no pipe left.
    init?(_ progress: OperationProgress, meter: ProgressMeter, console: Console, isQuiet: Bool) {
        guard console.isTerminal, !isQuiet else { return nil }
        guard let waking = try? Pipe() else { return nil }
        self.waking = waking
        thread = WorkerThreads(count: 1, name: "becalm-progress") { _ in
            var meter = meter
            let start = ContinuousClock.now
            var look = pollfd(fd: waking.reader, events: Int16(POLLIN), revents: 0)
            // Interrupted waits only mean an early redraw.
            while poll(&look, 1, 200) <= 0 {
                let time = (ContinuousClock.now - start) / .seconds(1)
                console.showProgress(meter.line(progress.status, at: time, columns: Self.columns))
            }
            console.endProgress()
        }
    }

    /// Takes the line away and waits until that is done: at most as long as one redraw.
    func stop() async {
        waking.wake()
        let thread = thread
        do {
            try await BlockingBridge.offload(name: "becalm-progress") { Result { thread.join() } }
        } catch {
            preconditionFailure("joining a thread throws nothing")
        }
    }

    /// Columns of the terminal behind standard error; 80 when it does not say.
    private static var columns: Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }
}
