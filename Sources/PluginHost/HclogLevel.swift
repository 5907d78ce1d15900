package import Logging

/// How weighty a log line is, in the words of hclog, which a go-plugin host parses.
package enum HclogLevel: String, Sendable, CaseIterable, Comparable {
    case trace, debug, info, warn, error

    /// From the value of `--log-level`, in logrus's words: `warning`, `fatal` and `panic` are hclog's `warn` and `error`.
    /// Nil for no word of either.
    package init?(argument: String) {
        switch argument.lowercased() {
        case "trace": self = .trace
        case "debug": self = .debug
        case "info": self = .info
        case "warn", "warning": self = .warn
        case "error", "fatal", "panic": self = .error
        default: return nil
        }
    }

    /// From swift-log's levels.
    package init(_ level: Logger.Level) {
        switch level {
        case .trace: self = .trace
        case .debug: self = .debug
        case .info, .notice: self = .info
        case .warning: self = .warn
        case .error, .critical: self = .error
        }
    }

    /// The least level of swift-log's that still shows.
    package var loggerLevel: Logger.Level {
        switch self {
        case .trace: .trace
        case .debug: .debug
        case .info: .info
        case .warn: .warning
        case .error: .error
        }
    }

    package static func < (left: HclogLevel, right: HclogLevel) -> Bool {
        allCases.firstIndex(of: left) ?? 0 < allCases.firstIndex(of: right) ?? 0
    }
}
