/// How `becalm` ends; scripts rely on these numbers.
package enum ExitStatus: Int32, Sendable, CaseIterable {
    case done = 0
    /// Anything without a number of its own.
    case failed = 1
    /// Done, but some sources or files could not be dealt with.
    case partial = 3
    case noRepository = 10
    /// Somebody else is at work on what only one may do.
    case busy = 11
    case wrongKey = 12
    /// Stored data is damaged.
    case integrity = 13
    case credentialsRefused = 14
    case storageUnreachable = 15
    case noSpace = 16
    /// A workload did not stand still in time; it runs again.
    case notQuiesced = 20
    /// A checkpoint that matters is torn, or none is complete.
    case checkpointTorn = 21
    /// The command line makes no sense (EX_USAGE of sysexits.h).
    case usage = 64
    /// SIGINT.
    case interrupted = 130
    /// SIGTERM.
    case terminated = 143
}
