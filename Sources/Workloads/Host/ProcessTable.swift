#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// The processes of this machine that /proc shows, as they were when they were read one by one.
struct ProcessTable: Sendable {
    private(set) var entries: [Int32: ProcessEntry] = [:]

    /// Reads all of them. Throws when there is no /proc to read.
    init() throws(QuiesceError) {
        let names: [String]
        do throws(HostFile.Failure) { names = try HostFile.names(in: "/proc") } catch {
            throw QuiesceError(.refused, "cannot see processes: /proc cannot be read: \(error)")
        }
        for name in names {
            guard let pid = Int32(name), let entry = Self.entry(pid) else { continue }
            entries[pid] = entry
        }
    }

    /// One process; nil when there is none of that number.
    static func entry(_ pid: Int32) -> ProcessEntry? {
        guard let stat = try? HostFile.read("/proc/\(pid)/stat", maximumBytes: 16 << 10).content else { return nil }
        return ProcessEntry(stat: stat)
    }

    /// Whether that very process is there and runs, or could.
    static func isAlive(_ identity: ProcessIdentity) -> Bool {
        entry(identity.pid).map { $0.identity == identity && !$0.isEnded } ?? false
    }

    /// The states of a process's threads; empty when it is gone.
    static func threadStates(_ pid: Int32) -> [UInt8] {
        let directory = "/proc/\(pid)/task"
        guard let threads = try? HostFile.names(in: directory) else { return [] }
        return threads.compactMap { thread in
            guard let stat = try? HostFile.read("\(directory)/\(thread)/stat", maximumBytes: 16 << 10).content else {
                return nil
            }
            return ProcessEntry(stat: stat)?.state
        }
    }

    /// Which signals a process has handlers for, and which it ignores, a bit each (proc_pid_status(5)).
    static func signals(_ pid: Int32) -> (caught: UInt64, ignored: UInt64)? {
        guard let text = try? HostFile.read("/proc/\(pid)/status", maximumBytes: 64 << 10).content else { return nil }
        var masks: [Substring: UInt64] = [:]
        for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(whereSeparator: { $0 == ":" || $0 == "\t" || $0 == " " })
            if parts.count == 2, parts[0] == "SigCgt" || parts[0] == "SigIgn" {
                masks[parts[0]] = UInt64(parts[1], radix: 16)
            }
        }
        guard let caught = masks["SigCgt"], let ignored = masks["SigIgn"] else { return nil }
        return (caught, ignored)
    }

    /// The processes that belong together with those of `seeds`: themselves, all of the process group `group`, and what any
    /// of these has started, parents before their children. What has ended is not among them.
    func members(of seeds: Set<ProcessIdentity>, group: Int32?) -> [ProcessEntry] {
        var children: [Int32: [ProcessEntry]] = [:]
        for entry in entries.values { children[entry.parent, default: []].append(entry) }
        var queue = entries.values.filter { seeds.contains($0.identity) || $0.group == group }
        queue.sort { ($0.identity.start, $0.identity.pid) < ($1.identity.start, $1.identity.pid) }
        var seen = Set(queue.map(\.identity))
        var index = 0
        while index < queue.count {
            let parent = queue[index]
            index += 1
            // Entries are not read at one moment: a number may have passed on to another process meanwhile.
            for child in children[parent.identity.pid] ?? [] where child.identity.start >= parent.identity.start {
                if seen.insert(child.identity).inserted { queue.append(child) }
            }
        }
        return queue.filter { !$0.isEnded }
    }
}

/// This machine's facts that processes are told by.
enum HostFacts {
    /// This process and what has started it, up to the first.
    static var ownLine: Set<Int32> {
        var line: Set<Int32> = []
        var pid = getpid()
        while pid > 0, line.insert(pid).inserted { pid = ProcessTable.entry(pid)?.parent ?? 0 }
        return line
    }

    /// This process.
    static var ownPID: Int32 { getpid() }
    /// Whom this process acts as.
    static var user: UInt32 { geteuid() }

    /// Which boot this is: numbers and start times of processes mean nothing after another.
    static var boot: String {
        guard let text = try? HostFile.read("/proc/sys/kernel/random/boot_id").content else { return "" }
        return String(decoding: text, as: UTF8.self).filter { !$0.isWhitespace }
    }

    /// Nanoseconds since 1970 at which a process began, by the clock as it is set now.
    static func began(_ process: ProcessIdentity) -> Int64 {
        var (now, sinceBoot) = (timespec(), timespec())
        clock_gettime(CLOCK_REALTIME, &now)
        clock_gettime(CLOCK_BOOTTIME, &sinceBoot)
        let boot =
            Int64(now.tv_sec - sinceBoot.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec) - Int64(sinceBoot.tv_nsec)
        let ticks = Int64(max(1, sysconf(Int32(_SC_CLK_TCK))))
        let (seconds, rest) = Int64(clamping: process.start).quotientAndRemainder(dividingBy: ticks)
        return boot + seconds * 1_000_000_000 + rest * 1_000_000_000 / ticks
    }
}
