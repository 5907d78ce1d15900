/// A process of this machine that is a workload, with all that it has started.
package struct HostWorkload: Sendable {
    /// `host/pid/trainer`
    package var reference: WorkloadReference
    /// The process that was named.
    package var root: ProcessIdentity
    /// Its program's name.
    package var name: String
    /// The process group that it leads; nil when it is in another's.
    var group: Int32?

    /// `host/pid/trainer (python, process 4242)`: for messages.
    package var label: String {
        "\(reference) (\(name), process \(root.pid))"
    }

    /// Its processes as they are now, with those of `known` that are still there and what these have started.
    func members(_ table: ProcessTable, known: [ProcessIdentity]) -> [ProcessEntry] {
        table.members(of: Set(known + [root]), group: group)
    }
}

/// Finds processes by the names that people give them.
package enum HostFinder {
    /// The process of that name: by its number, which is the name, or that of the file `pidFile`. Throws `WorkloadError`.
    package static func find(_ reference: WorkloadReference, pidFile: String?) throws(WorkloadError) -> HostWorkload {
        let pid: Int32
        var written: Int64?
        var writer: UInt32?
        if let pidFile {
            let (content, facts): ([UInt8], HostFile.Facts)
            do throws(HostFile.Failure) { (content, facts) = try HostFile.read(pidFile, maximumBytes: 4096) } catch {
                throw WorkloadError("\(reference): the pid file \(pidFile) cannot be read: \(error)")
            }
            let text = String(decoding: content, as: UTF8.self).split(whereSeparator: \.isWhitespace)
            guard text.count == 1, let number = text.first.flatMap({ Int32($0) }), number > 0 else {
                throw WorkloadError("\(reference): the pid file \(pidFile) holds no number of a process")
            }
            guard !facts.isOpenToOthers else {
                throw WorkloadError(
                    "\(reference): others may write to the pid file \(pidFile), so it could name any process: chmod 644 it"
                )
            }
            (pid, written, writer) = (number, facts.modified, facts.owner)
        } else {
            guard let number = Int32(reference.name), number > 0, "\(number)" == reference.name else {
                throw WorkloadError(
                    "\(reference) names no process: write host/pid/NUMBER, or say where its number is with --pid-file or a policy file"
                )
            }
            pid = number
        }
        guard let entry = ProcessTable.entry(pid), !entry.isEnded else {
            throw WorkloadError("\(reference): there is no process \(pid) on this machine")
        }
        if let pidFile, let written, let writer {
            try check(entry, reference, pidFile: pidFile, written: written, writer: writer)
        }
        guard !HostFacts.ownLine.contains(pid) else {
            throw WorkloadError(
                "\(reference): process \(entry.label) has started this becalm, which would stop with it: run becalm beside it"
            )
        }
        return HostWorkload(
            reference: reference, root: entry.identity, name: entry.name,
            group: entry.group == pid ? pid : nil)
    }

    /// Whether a pid file means the process that has its number now.
    private static func check(
        _ entry: ProcessEntry, _ reference: WorkloadReference, pidFile: String, written: Int64, writer: UInt32
    ) throws(WorkloadError) {
        // A second for clocks that count in ticks, and for launchers that write it before they become the program.
        guard HostFacts.began(entry.identity) <= written &+ 1_000_000_000 else {
            throw WorkloadError(
                "\(reference): the process \(entry.label) began after \(pidFile) was written, so it is not the one that is meant: write the file anew when the process starts"
            )
        }
        let owner = (try? HostFile.facts("/proc/\(entry.identity.pid)"))?.owner
        guard writer == 0 || writer == HostFacts.user || writer == owner else {
            throw WorkloadError(
                "\(reference): the pid file \(pidFile) is another user's than the process \(entry.label): it could name any process"
            )
        }
    }
}

extension WorkloadReference {
    /// The namespace of what runs on this machine; its kind is `pid`.
    package static let host = "host"

    /// Whether it is a process of this machine.
    package var isHost: Bool { namespace == Self.host && kind == "pid" }

    /// Throws for a name that no journal's file can have.
    func checkHostName() throws(WorkloadError) {
        guard name.utf8.count <= 200 else { throw WorkloadError("\(self): a name has at most 200 characters") }
    }
}
