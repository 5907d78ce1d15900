#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A cgroup (version 2) that is a workload's own, which the kernel freezes as a whole: nothing in it runs, nor what it would
/// have started, and none of its processes can tell.
struct HostCgroup: Sendable {
    /// Its directory.
    let path: String

    /// The cgroup of a process, if there is one that can be frozen, is not the root, and holds none but `members`: others
    /// are not ours to stop. Nil too for one that is frozen already, which somebody else will thaw.
    static func own(of process: Int32, members: Set<Int32>) -> HostCgroup? {
        guard let place = place(of: process), let mount = mount(),
            let path = directory(place, mount), access("\(path)/cgroup.freeze", W_OK) == 0
        else { return nil }
        let group = HostCgroup(path: path)
        guard group.isFrozen() == false, let inside = group.processes(), inside.contains(process),
            inside.subtracting(members).allSatisfy({ isStarted($0, by: members) })
        else { return nil }
        return group
    }

    /// Whether one of `members` has started a process since they were looked up, or it has ended already.
    private static func isStarted(_ process: Int32, by members: Set<Int32>) -> Bool {
        guard var parent = ProcessTable.entry(process)?.parent else { return true }
        // A line of parents ends at 1, or at 0 where that is out of sight; its length bounds it too.
        for _ in 0..<1000 where parent > 1 {
            if members.contains(parent) { return true }
            parent = ProcessTable.entry(parent)?.parent ?? 0
        }
        return false
    }

    /// Has it frozen, or thawed. `isFrozen` tells when it is so.
    func set(isFrozen: Bool) throws(HostFile.Failure) {
        try HostFile.write(isFrozen ? "1" : "0", to: "\(path)/cgroup.freeze")
    }

    /// Whether everything in it stands still; nil when it is gone.
    func isFrozen() -> Bool? {
        guard let events = try? HostFile.read("\(path)/cgroup.events").content else { return nil }
        return String(decoding: events, as: UTF8.self).split(separator: "\n").contains("frozen 1")
    }

    /// The processes in it and below it; nil when that cannot be read.
    func processes() -> Set<Int32>? {
        var found: Set<Int32> = []
        var left = [path]
        while let directory = left.popLast() {
            guard let text = try? HostFile.read("\(directory)/cgroup.procs", maximumBytes: 16 << 20).content,
                let names = try? HostFile.names(in: directory)
            else { return nil }
            found.formUnion(String(decoding: text, as: UTF8.self).split(separator: "\n").compactMap { Int32($0) })
            for name in names where (try? HostFile.facts("\(directory)/\(name)"))?.isDirectory == true {
                left.append("\(directory)/\(name)")
            }
        }
        return found
    }

    /// Where a process is in the hierarchy: the line `0::/…` of /proc/PID/cgroup (cgroups(7)).
    private static func place(of process: Int32) -> String? {
        guard let text = try? HostFile.read("/proc/\(process)/cgroup").content else { return nil }
        let line = String(decoding: text, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("0::/") }
        // Above the root of our namespace it has no path for us.
        guard let place = line?.dropFirst(3), place != "/", !place.hasPrefix("/..") else { return nil }
        return String(place)
    }

    /// Where the hierarchy is mounted, and which part of it (proc_pid_mountinfo(5)).
    private static func mount() -> (root: String, point: String)? {
        guard let text = try? HostFile.read("/proc/self/mountinfo", maximumBytes: 4 << 20).content else { return nil }
        for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count, fields[dash + 1] == "cgroup2",
                fields.count > 4
            else { continue }
            return (String(fields[3]), String(fields[4]))
        }
        return nil
    }

    private static func directory(_ place: String, _ mount: (root: String, point: String)) -> String? {
        if mount.root == "/" { return mount.point + place }
        guard place.hasPrefix(mount.root + "/") else { return nil }
        return mount.point + place.dropFirst(mount.root.utf8.count)
    }
}
