#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Has every process of a workload stand still: by its cgroup where it has one of its own, else by SIGSTOP, which none can
/// ignore, parents first. One that is started meanwhile is found by the next look, for then its parent stands still.
///
/// A value of one quiescer, used by one task at a time; what it does is in the journal before it is done.
struct HostPause: Sendable {
    let workload: HostWorkload
    let journal: HostJournal
    let opening: String

    /// Processes that stood still when they were first seen: somebody else has stopped them, who lets them go.
    private var foreign: Set<ProcessIdentity> = []
    private var noted: Set<ProcessIdentity> = []
    private var cgroup: HostCgroup?
    private var hasLooked = false
    /// Looks in a row that found all of it standing still.
    private var quietLooks = 0

    init(_ workload: HostWorkload, _ journal: HostJournal, opening: String) {
        self.workload = workload
        self.journal = journal
        self.opening = opening
    }

    /// Looks once and stops what it finds. Answers what does not stand still yet, in words: all stands still when nothing
    /// twice in a row. Blocks.
    mutating func look() throws -> [String] {
        let table = try ProcessTable()
        var members = workload.members(table, known: Array(noted))
        guard members.contains(where: { $0.identity == workload.root }) else {
            throw QuiesceError(
                .refused, "\(workload.label) has ended while it was being stopped: there is nothing to hold")
        }
        let own = HostFacts.ownLine
        guard !members.contains(where: { own.contains($0.identity.pid) }) else {
            throw QuiesceError(
                .refused,
                "this becalm belongs to \(workload.label), and would stop with it: run becalm beside it, or use --consistency checkpoint"
            )
        }
        let isFirst = !hasLooked
        if isFirst {
            hasLooked = true
            foreign = Set(members.filter { ProcessEntry.stoppedStates.contains($0.state) }.map(\.identity))
            cgroup = HostCgroup.own(of: workload.root.pid, members: Set(members.map(\.identity.pid)))
            if let cgroup {
                _ = try journal.change(opening) {
                    $0.cgroup = cgroup.path
                } then: {
                    try cgroup.set(isFrozen: true)
                }
            }
        }
        var left: [String] = []
        if let cgroup {
            guard cgroup.isFrozen() == true else {
                quietLooks = 0
                return ["\(cgroup.path) is not frozen yet"]
            }
            let inside = cgroup.processes() ?? []
            members.removeAll { inside.contains($0.identity.pid) }
        }
        let fresh = members.filter { !noted.contains($0.identity) && !foreign.contains($0.identity) }
        if !fresh.isEmpty { try stop(fresh) }
        for member in members {
            let states = ProcessTable.threadStates(member.identity.pid)
            let running = states.filter {
                !ProcessEntry.stoppedStates.contains($0) && !ProcessEntry.endedStates.contains($0)
            }
            guard let state = running.first else { continue }
            left.append("\(member.label) is in state \(String(decoding: [state], as: UTF8.self))")
        }
        quietLooks = fresh.isEmpty && left.isEmpty ? quietLooks + 1 : 0
        return quietLooks >= 2 ? [] : left.isEmpty ? ["it is looked once more"] : left
    }

    private mutating func stop(_ fresh: [ProcessEntry]) throws {
        let handles = try fresh.compactMap { try ProcessHandle($0.identity) }
        let identities = handles.map(\.identity)
        _ = try journal.change(opening) {
            $0.processes += identities
        } then: {
            for handle in handles { try handle.send(SIGSTOP) }
        }
        noted.formUnion(identities)
    }

    /// Whether some of it had been stopped by somebody else before, in words; nil when none was.
    var remark: String? {
        guard let one = foreign.min(by: { $0.pid < $1.pid }) else { return nil }
        return
            "\(foreign.count) of the processes of \(workload.reference), \(one) among them, had been stopped by somebody else before, and stay so"
    }

    /// Lets go what a journal says, children before their parents. What has ended, and what has only the number of one that
    /// did, is left alone. Throws after the rest is done. Blocks.
    static func release(_ entry: HostJournal.Entry) throws {
        var failures: [any Error] = []
        if let path = entry.cgroup {
            do throws(HostFile.Failure) { try HostCgroup(path: path).set(isFrozen: false) } catch {
                if error.code != HostFile.Failure.missing {
                    failures.append(
                        QuiesceError(.notResumed, "cannot thaw \(path): \(error): write 0 to its cgroup.freeze"))
                }
            }
        }
        for identity in entry.processes.reversed() {
            do throws(QuiesceError) { try ProcessHandle(identity)?.send(SIGCONT) } catch { failures.append(error) }
        }
        if let first = failures.first { throw first }
    }
}
