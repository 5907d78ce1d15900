package import Logging

/// Sends what is logged to the host, line by line, through `write`, which must keep lines whole.
package struct HclogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var logLevel: Logger.Level
    private let write: @Sendable ([UInt8]) -> Void

    package init(level: HclogLevel, write: @escaping @Sendable ([UInt8]) -> Void) {
        logLevel = level.loggerLevel
        self.write = write
    }

    /// The handler's own fields, which go with every line.
    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes one line; called on whichever thread logs.
    package func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { _, new in new }
        var fields = all.keys.sorted().map { (name: Self.safe($0), value: all[$0].map { "\($0)" } ?? "") }
        // Where go-plugin's own loggers put it, so that Velero's log shows the place in ours.
        fields.append((name: "logSource", value: "\(event.file):\(event.line)"))
        write(
            HclogLine.bytes(level: HclogLevel(event.level), message: "\(event.message)", fields: fields))
    }

    /// Names that a host reads itself, or drops, go under another.
    private static func safe(_ name: String) -> String {
        name.hasPrefix("@") || ["time", "timestamp", "level", "logSource"].contains(name) ? "field.\(name)" : name
    }
}
