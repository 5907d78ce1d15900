import Basics
import Synchronization
import Workloads

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A real process with children, and a directory for its files and journals.
final class HostProcesses: Sendable {
    let pid: Int32
    let directory: String

    /// Runs a script of bash as the leader of a process group of its own. `$1` is the directory. Throws a `Failure` or an `Errno`.
    init(_ script: String) throws {
        var template = Array("/tmp/becalm-host-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(text: "no temporary directory") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // Detached, and so the leader of a group of its own.
        var launch = ProcessLaunch(
            ["/bin/bash", "-c", script, "trainer", directory], environment: ["PATH": "/usr/bin:/bin"])
        launch.isDetached = true
        pid = try launch.start()
    }

    deinit {
        kill(-pid, SIGKILL)
        _ = try? ChildProcess.end(of: pid)
        let remover = ProcessLaunch(["/bin/rm", "-rf", directory], environment: [:])
        if let process = try? remover.start() { _ = try? ChildProcess.end(of: process) }
    }

    struct Failure: Error {
        var text: String
    }

    var reference: WorkloadReference { WorkloadReference(namespace: "host", kind: "pid", name: "\(pid)") }
    var state: HostStateDirectory { HostStateDirectory(path: directory + "/state") }

    func found() throws -> HostWorkload { try HostFinder.find(reference, pidFile: nil) }

    func quiescer(
        observer: (any CheckpointObserver)? = nil, clock: any WallClock = SystemWallClock(),
        _ set: (inout HostQuiesceOptions) -> Void = { _ in }
    ) -> HostQuiescer {
        var common = QuiesceOptions(holder: "tester")
        common.isManual = true
        common.deadlineSeconds = 300
        common.stopSeconds = 60
        common.checkpointSeconds = 60
        var options = HostQuiesceOptions(common)
        options.environment = ["PATH": "/usr/bin:/bin"]
        options.clock = clock
        set(&options)
        return HostQuiescer(state, options: options, observer: observer)
    }

    func resumer(clock: any WallClock = SystemWallClock()) -> HostResumer {
        HostResumer(state, environment: ["PATH": "/usr/bin:/bin"], clock: clock)
    }

    /// The states of the processes of its group, by /proc.
    var states: String {
        var states = ""
        for name in Self.names("/proc") {
            guard Int32(name) != nil, let text = Self.text("/proc/\(name)/stat"),
                let end = text.lastIndex(of: ")")
            else { continue }
            let fields = text[text.index(after: end)...].split(separator: " ")
            if fields.count > 2, Int32(fields[2]) == pid, fields[0] != "Z" { states += fields[0] }
        }
        return states
    }

    /// Waits until a condition holds; false when it does not within a minute.
    static func waits(_ holds: () -> Bool) async -> Bool {
        let clock = ContinuousClock()
        let end = clock.now.advanced(by: .seconds(60))
        while !holds() {
            guard clock.now < end else { return false }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return true
    }

    /// A file's text; nil when it is not there.
    func file(_ name: String) -> String? { Self.text("\(directory)/\(name)") }

    func write(_ name: String, _ text: String) {
        guard let file = fopen("\(directory)/\(name)", "w") else { return }
        fputs(text, file)
        fclose(file)
    }

    private static func text(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    private static func names(_ path: String) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        return names
    }
}

/// A clock that a test sets.
final class SettableClock: WallClock {
    private let ahead = Mutex(0.0)

    func advance(_ seconds: Double) { ahead.withLock { $0 += seconds } }

    func now() -> Timestamp { SystemWallClock().now().advanced(bySeconds: ahead.withLock { $0 }) }
}
