internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// What this process may use: processors and memory, as its cgroup and the machine say.
package enum SystemLimits {
    /// Processors that can work for us at once: the affinity mask, cut down to the cgroup's quota rounded up. At least 1.
    package static var processors: Int {
        let online = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        let affinity = affinityCount() ?? online
        guard let text = read("/sys/fs/cgroup/cpu.max") else { return affinity }
        let words = text.split(whereSeparator: { $0 == " " || $0 == "\n" })
        guard words.count == 2, let quota = Double(words[0]), let period = Double(words[1]), period > 0 else {
            return affinity
        }
        return max(1, min(affinity, Int((quota / period).rounded(.up))))
    }

    /// Bytes of memory that the cgroup allows, or else that the machine has.
    package static var memoryBytes: Int {
        let machine = Int(sysconf(Int32(_SC_PHYS_PAGES))) * Int(sysconf(Int32(_SC_PAGESIZE)))
        for path in ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"] {
            if let text = read(path), let limit = Int(text.split(separator: "\n").first ?? "") {
                return min(machine, limit)
            }
        }
        return machine
    }

    /// Files that this process may have open at once: raised to what it is allowed at most, which most programs that do
    /// not use select(2) may do (setrlimit(2), RLIMIT_NOFILE).
    package static let openFiles: Int = {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 256 }
        var raised = limit
        raised.rlim_cur = raised.rlim_max
        if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 { limit = raised }
        return Int(min(limit.rlim_cur, 1 << 30))
    }()

    /// Bits in the mask of processors that the kernel allows us (proc(5), `Cpus_allowed`).
    private static func affinityCount() -> Int? {
        guard let text = read("/proc/self/status"),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("Cpus_allowed:") })
        else { return nil }
        let bits = line.dropFirst("Cpus_allowed:".count).reduce(0) { $0 + ($1.hexDigitValue ?? 0).nonzeroBitCount }
        return bits > 0 ? bits : nil
    }

    private static func read(_ path: String) -> String? {
        guard let file = try? FileDescriptor.open(FilePath(path), .readOnly) else { return nil }
        defer { try? file.close() }
        var bytes = [UInt8](repeating: 0, count: 8192)
        guard let count = try? bytes.withUnsafeMutableBytes({ try file.read(into: $0) }) else { return nil }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
