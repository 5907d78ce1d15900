package import Basics

/// How a process of this machine is brought to a standstill.
package struct HostQuiesceOptions: Sendable {
    /// As for workloads of a cluster; `isManual` means the same.
    package var common: QuiesceOptions
    /// What starts the process again after `stop`: a program and its arguments. Empty: it is not stopped so.
    package var startCommand: [String] = []
    /// Where that runs, absolute.
    package var directory = "/"
    /// For the command, and for one that asks for a checkpoint.
    package var environment: [String: String] = [:]
    /// A program that watches over a journal (`HostWatch`), with its first arguments; the names of journal and opening
    /// are added. Empty: nobody does, and what a killed process leaves waits for whoever comes next.
    package var watcher: [String] = []
    package var clock: any WallClock = SystemWallClock()

    package init(_ common: QuiesceOptions) { self.common = common }
}
