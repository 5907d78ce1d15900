package import Snapshots

/// Turns looks at a progress into a line: bytes, rate, time left, current file. Pure: time comes in from outside.
package struct ProgressMeter: Sendable {
    private struct Sample {
        var time: Double
        var bytes: UInt64
    }

    /// The rate is that of the last seconds, so that it follows what happens and does not jump.
    private static let windowSeconds = 10.0
    private let verb: String
    private let noun: String
    private var samples: [Sample] = []
    private var start: Double?

    /// A meter whose lines begin with `verb` ("backing up") and count so many `noun`s ("file").
    package init(verb: String, noun: String = "file") {
        self.verb = verb
        self.noun = noun
    }

    /// Bytes a second over the window; nil until there is something to measure.
    package private(set) var rate: Double?

    /// The line at `time` (seconds of any monotonic clock), at most `columns` wide.
    package mutating func line(_ status: OperationProgress.Status, at time: Double, columns: Int) -> String {
        let begun = start ?? time
        start = begun
        samples.append(Sample(time: time, bytes: status.bytes))
        while samples.count > 2, time - samples[1].time >= Self.windowSeconds { samples.removeFirst() }
        if let first = samples.first, time - first.time >= 0.5, status.bytes >= first.bytes {
            rate = Double(status.bytes - first.bytes) / (time - first.time)
        }
        var parts: [String] = []
        if status.isCancelled { parts.append("ending cleanly, once more to end at once") } else { parts.append(verb) }
        if status.bytesTotal > 0 {
            let share = min(100, Int(Double(status.bytes) / Double(status.bytesTotal) * 100))
            parts.append("\(share) % of \(Format.bytes(status.bytesTotal))")
        } else {
            parts.append(Format.bytes(status.bytes))
        }
        parts.append(
            status.filesTotal > 0 ? "\(status.files)/\(status.filesTotal) \(noun)s" : Format.count(status.files, noun))
        if let rate { parts.append("\(Format.bytes(UInt64(rate)))/s") }
        if let rate, rate > 0, status.bytesTotal > status.bytes {
            parts.append("\(Format.duration(Double(status.bytesTotal - status.bytes) / rate)) left")
        } else {
            parts.append(Format.duration(time - begun))
        }
        let head = parts.joined(separator: "  ")
        return Self.fit(head, Console.oneLine(status.current), columns: columns)
    }

    /// Both in `columns`: of the tail its end is kept, for there stands the file's name.
    private static func fit(_ head: String, _ tail: String, columns: Int) -> String {
        // The last column stays free, or terminals wrap.
        let room = max(columns - 1, 10)
        if head.count >= room { return String(head.prefix(room)) }
        let left = room - head.count - 2
        guard left >= 8, !tail.isEmpty else { return head }
        return tail.count <= left ? "\(head)  \(tail)" : "\(head)  …\(tail.suffix(left - 1))"
    }
}
