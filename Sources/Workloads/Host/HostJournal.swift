package import Basics
internal import Kubernetes

/// What is being done to a process of this machine, written down before it is done, so that any process can undo it.
///
/// A file of the state directory, for its owner alone. Its holder has a lock beside it (flock(2)), which the kernel takes from a
/// holder that dies: nobody need wait for a lease to end. A journal is over when its deadline is past, or when its holder is
/// gone before it was done; whoever comes next then undoes what it says.
package struct HostJournal: Sendable {
    /// What a journal says.
    package struct Entry: Sendable {
        /// `host/pid/trainer`
        package var workload: WorkloadReference
        /// Of this very journal, for those who must not undo a later one of the same name.
        package var opening: String
        /// The boot that the processes' numbers are of.
        package var boot: String
        package var holder: String
        package var consistency: QuiescePolicy.Consistency
        package var step: QuiesceJournal.Step
        /// When it is let go whatever happens; nil when somebody must do it.
        package var deadline: Timestamp?
        /// Whether it stands still for good, or until the deadline: its holder may go.
        package var isKept = false
        package var times: [QuiesceJournal.Step: Timestamp]
        /// The process that was named.
        package var root: ProcessIdentity
        /// What is, or is about to be, stopped by signals, parents before their children.
        package var processes: [ProcessIdentity] = []
        /// The cgroup that is, or is about to be, frozen.
        package var cgroup: String?
        /// What starts it again after `stop`, and where; its environment is that of who resumes it.
        package var startCommand: [String] = []
        package var directory = "/"
        /// Whether the command was run, or was about to be: it is not run twice by itself.
        package var isStarting = false
        /// Who resumes it at the deadline, or when its holder dies.
        package var watcher: ProcessIdentity?

        /// Whether anybody may undo it; `isHeld`: whether its holder lives.
        package func isOver(at now: Timestamp, isHeld: Bool) -> Bool {
            if let deadline, deadline <= now { return true }
            return !isKept && !isHeld
        }
    }

    private static let version: Int64 = 1
    private static let mostBytes = 4 << 20

    package let directory: HostStateDirectory
    package let workload: WorkloadReference

    package init(_ directory: HostStateDirectory, of workload: WorkloadReference) {
        self.directory = directory
        self.workload = workload
    }

    private var path: String { directory.journal(workload.name) }

    // MARK: Reading

    /// What it says; nil when there is none. Throws for one that cannot be read, which is never passed over.
    package func read() throws(WorkloadError) -> Entry? {
        let (content, facts): ([UInt8], HostFile.Facts)
        do throws(HostFile.Failure) {
            (content, facts) = try HostFile.read(path, maximumBytes: Self.mostBytes)
        } catch {
            if error.code == HostFile.Failure.missing { return nil }
            throw WorkloadError("the journal \(path) cannot be read: \(error)")
        }
        guard facts.owner == HostFacts.user, !facts.isOpenToOthers else {
            throw WorkloadError("the journal \(path) could be another user's: see what it says, then remove it")
        }
        guard let json = try? JSONValue(parsing: content, limits: .init(maximumBytes: Self.mostBytes)),
            let version = json["version"]?.int64
        else { throw malformed }
        guard version == Self.version else {
            throw WorkloadError("the journal \(path) was written by another version of Becalm: resume with that one")
        }
        guard let entry = Entry(json) else { throw malformed }
        return entry
    }

    private var malformed: WorkloadError {
        WorkloadError(
            "the journal \(path) cannot be read: let the processes go by hand (kill -CONT), then remove it")
    }

    /// Whether somebody who lives holds it. Only within `locked`.
    func isHeld() throws(HostFile.Failure) -> Bool { try HostLock(directory.hold(workload.name), waits: false) == nil }

    /// Every journal of a directory; those that cannot be read as errors beside them.
    package static func list(
        _ directory: HostStateDirectory
    ) throws -> (entries: [Entry], unreadable: [WorkloadError]) {
        guard directory.exists else { return ([], []) }
        return try directory.locked {
            var entries: [Entry] = []
            var unreadable: [WorkloadError] = []
            for name in try directory.names() {
                do throws(WorkloadError) {
                    let workload = WorkloadReference(namespace: WorkloadReference.host, kind: "pid", name: name)
                    if let entry = try HostJournal(directory, of: workload).read() { entries.append(entry) }
                } catch {
                    unreadable.append(error)
                }
            }
            return (entries, unreadable)
        }
    }

    // MARK: Writing, within `locked`

    /// Writes it down: it is on the disk when this returns.
    func write(_ entry: Entry) throws(QuiesceError) {
        let bytes = entry.json(version: Self.version).serialized(escapingHTML: false)
        do throws(HostFile.Failure) { try HostFile.replace(path, bytes) } catch {
            throw QuiesceError(.refused, "cannot write the journal \(path), so nothing more is stopped: \(error)")
        }
    }

    /// Takes the holder's lock; nil when somebody else who lives has it.
    func hold() throws(HostFile.Failure) -> HostLock? { try HostLock(directory.hold(workload.name), waits: false) }

    /// Ends it: everything is as it was.
    func remove() throws(HostFile.Failure) {
        try HostFile.remove(path)
        try HostFile.remove(directory.hold(workload.name))
    }

    // MARK: Steps

    /// Changes the journal that `opening` opened and writes it down, then runs `body` before anybody else can touch it.
    /// Throws `.lost` when it is gone, or another's.
    func change(
        _ opening: String, _ change: (inout Entry) -> Void, then body: () throws -> Void = {}
    ) throws -> Entry {
        try directory.locked {
            guard var entry = try read(), entry.opening == opening else { throw lost }
            change(&entry)
            try write(entry)
            try body()
            return entry
        }
    }

    /// Throws `.lost` when the journal is not `opening`'s any more.
    func check(_ opening: String) throws {
        guard try read()?.opening == opening else { throw lost }
    }

    private var lost: QuiesceError {
        QuiesceError(.lost, "the journal of \(workload) is gone: somebody has let it go")
    }
}

extension HostFile.Failure {
    /// ENOENT.
    static var missing: Int32 { 2 }
}

// MARK: The journal's words

extension HostJournal.Entry {
    fileprivate init?(_ json: JSONValue) {
        guard let workload = json["workload"]?.string.flatMap({ try? WorkloadReference(parsing: $0) }),
            let opening = json["opening"]?.string, let boot = json["boot"]?.string, let holder = json["holder"]?.string,
            let consistency = json["consistency"]?.string.flatMap(QuiescePolicy.Consistency.init(rawValue:)),
            let step = json["step"]?.string.flatMap(QuiesceJournal.Step.init(rawValue:)),
            let root = json["root"].flatMap(ProcessIdentity.init), let list = json["processes"]?.array,
            let words = json["start_command"]?.array, let began = json["times"]?.object
        else { return nil }
        let processes = list.compactMap(ProcessIdentity.init)
        let startCommand = words.compactMap(\.string)
        guard processes.count == list.count, startCommand.count == words.count else { return nil }
        var deadline: Timestamp?
        if let text = json["deadline"]?.string {
            guard let time = CalendarTime.parse(rfc3339: text) else { return nil }
            deadline = time
        }
        var times: [QuiesceJournal.Step: Timestamp] = [:]
        for member in began.members {
            guard let step = QuiesceJournal.Step(rawValue: member.key), let text = member.value.string else { continue }
            times[step] = CalendarTime.parse(rfc3339: text)
        }
        self.init(
            workload: workload, opening: opening, boot: boot, holder: holder, consistency: consistency, step: step,
            deadline: deadline, times: times, root: root)
        isKept = json["is_kept"]?.bool ?? false
        self.processes = processes
        cgroup = json["cgroup"]?.string
        self.startCommand = startCommand
        directory = json["directory"]?.string ?? "/"
        isStarting = json["is_starting"]?.bool ?? false
        watcher = json["watcher"].flatMap(ProcessIdentity.init)
    }

    fileprivate func json(version: Int64) -> JSONValue {
        var began = JSONObject()
        for (step, time) in times { began[step.rawValue] = .string(CalendarTime(time).microsecondText) }
        var object = JSONObject()
        object["version"] = .integer(version)
        object["workload"] = .string("\(workload)")
        object["opening"] = .string(opening)
        object["boot"] = .string(boot)
        object["holder"] = .string(holder)
        object["consistency"] = .string(consistency.rawValue)
        object["step"] = .string(step.rawValue)
        if let deadline { object["deadline"] = .string(CalendarTime(deadline).microsecondText) }
        object["is_kept"] = .bool(isKept)
        object["times"] = .object(began)
        object["root"] = root.json
        object["processes"] = .array(processes.map(\.json))
        if let cgroup { object["cgroup"] = .string(cgroup) }
        object["start_command"] = .array(startCommand.map { .string($0) })
        object["directory"] = .string(directory)
        object["is_starting"] = .bool(isStarting)
        if let watcher { object["watcher"] = watcher.json }
        return .object(object)
    }
}

extension ProcessIdentity {
    fileprivate init?(_ json: JSONValue) {
        guard let pid = json["pid"]?.int64.flatMap(Int32.init(exactly:)), pid > 0,
            let start = json["start"]?.int64.flatMap(UInt64.init(exactly:))
        else { return nil }
        self.init(pid: pid, start: start)
    }

    fileprivate var json: JSONValue { ["pid": .integer(Int64(pid)), "start": .integer(Int64(clamping: start))] }
}
