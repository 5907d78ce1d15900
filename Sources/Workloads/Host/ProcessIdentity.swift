/// A process of this machine, told from others that get its number after it: by when it began.
package struct ProcessIdentity: Hashable, Sendable, CustomStringConvertible {
    package var pid: Int32
    /// Clock ticks from boot to its start: field 22 of /proc/PID/stat.
    package var start: UInt64

    package init(pid: Int32, start: UInt64) {
        self.pid = pid
        self.start = start
    }

    package var description: String { "process \(pid)" }
}

/// What /proc/PID/stat says of a process (proc(5)).
struct ProcessEntry: Hashable, Sendable {
    var identity: ProcessIdentity
    var parent: Int32
    var group: Int32
    /// `R`, `S`, `D`, `T`, `t`, `Z`, …
    var state: UInt8
    /// The first 15 bytes of its program's name.
    var name: String

    /// Whether it only waits for its parent to take notice.
    var isEnded: Bool { Self.endedStates.contains(state) }

    /// `4242 (python)`: for messages.
    var label: String { "\(identity.pid) (\(name))" }

    /// Ended: a zombie, or about to go.
    static let endedStates: Set<UInt8> = [UInt8(ascii: "Z"), UInt8(ascii: "X"), UInt8(ascii: "x")]
    /// Stopped by a signal, or by a debugger.
    static let stoppedStates: Set<UInt8> = [UInt8(ascii: "T"), UInt8(ascii: "t")]

    /// The content of a `stat` file; nil when it is none. The name may hold blanks and parentheses: the last one ends it.
    init?(stat: [UInt8]) {
        guard let open = stat.firstIndex(of: UInt8(ascii: "(")), let close = stat.lastIndex(of: UInt8(ascii: ")")),
            open < close
        else { return nil }
        let fields = String(decoding: stat[(close + 1)...], as: UTF8.self).split(whereSeparator: \.isWhitespace)
        // From the third field of the line on: state, ppid, pgrp, …, starttime.
        guard fields.count >= 20, let state = fields[0].utf8.first, let parent = Int32(fields[1]),
            let group = Int32(fields[2]), let start = UInt64(fields[19]),
            let pid = Int32(String(decoding: stat[..<open], as: UTF8.self).filter { !$0.isWhitespace })
        else { return nil }
        identity = ProcessIdentity(pid: pid, start: start)
        self.parent = parent
        self.group = group
        self.state = state
        name = String(decoding: stat[(open + 1)..<close], as: UTF8.self).filter { $0 >= " " && $0 != "\u{7f}" }
    }
}
