/// Where the journals of this machine's processes are: a directory of the user who runs this, for nobody else.
package struct HostStateDirectory: Hashable, Sendable {
    /// Absolute.
    package let path: String

    /// The directory at `path`.
    package init(path: String) { self.path = path }

    /// Where it is by custom: below XDG_STATE_HOME where that is set, for root in /var/lib/becalm, else in
    /// ~/.local/state/becalm. A user's journals are found by that user alone.
    package static func standard(environment: [String: String]) -> HostStateDirectory {
        if let named = environment["XDG_STATE_HOME"], named.hasPrefix("/") {
            return HostStateDirectory(path: "\(named)/becalm")
        }
        guard HostFacts.user != 0, let home = environment["HOME"], home.hasPrefix("/") else {
            return HostStateDirectory(path: "/var/lib/becalm")
        }
        return HostStateDirectory(path: "\(home)/.local/state/becalm")
    }

    /// Where what watchers and started commands print goes.
    var log: String { "\(path)/host.log" }

    /// Makes it. Throws where it is not ours alone: what a journal says is done, so whoever can write one can have us send
    /// signals, and run commands.
    func prepare() throws(QuiesceError) {
        do throws(HostFile.Failure) {
            try HostFile.makeDirectories(path)
        } catch {
            throw QuiesceError(
                .refused,
                "cannot make \(path) for the journal: \(error); set XDG_STATE_HOME to a place that can be written"
            )
        }
        try check()
    }

    /// Whether there is anything in it.
    var exists: Bool { (try? HostFile.facts(path)) != nil }

    private func check() throws(QuiesceError) {
        let facts: HostFile.Facts
        do throws(HostFile.Failure) { facts = try HostFile.facts(path) } catch {
            throw QuiesceError(.refused, "cannot look at \(path): \(error)")
        }
        guard facts.isDirectory, facts.owner == HostFacts.user, !facts.isOpenToOthers else {
            throw QuiesceError(
                .refused,
                "\(path) is no directory of this user's alone, so what its journals say is not to be trusted: chmod 700 it, or set XDG_STATE_HOME"
            )
        }
    }

    /// Runs `body` while no other process changes a journal or a lock file. Blocks, for others hold it shortly.
    func locked<R>(_ body: () throws -> R) throws -> R {
        try check()
        return try withExtendedLifetime(try HostLock("\(path)/lock", waits: true)) { try body() }
    }

    /// Where the journal of a name is, and the lock that says that its holder lives.
    func journal(_ name: String) -> String { "\(path)/host-\(name).json" }
    /// The lock of a name's holder.
    func hold(_ name: String) -> String { "\(path)/host-\(name).lock" }

    /// The names that have journals.
    func names() throws(HostFile.Failure) -> [String] {
        try HostFile.names(in: path).compactMap {
            $0.hasPrefix("host-") && $0.hasSuffix(".json") ? String($0.dropFirst(5).dropLast(5)) : nil
        }
    }
}
