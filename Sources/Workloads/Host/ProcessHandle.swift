internal import CProcessShims

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// One process, held so that whatever is done goes to it and to no other that gets its number (pidfd_open(2)).
final class ProcessHandle: Sendable {
    let identity: ProcessIdentity
    private let descriptor: Int32

    /// Nil when the process has ended. Throws `.refused` on a system without such handles.
    init?(_ identity: ProcessIdentity) throws(QuiesceError) {
        let descriptor = ps_open(identity.pid)
        guard descriptor >= 0 else {
            if -descriptor == ESRCH || -descriptor == EINVAL { return nil }
            let reason = -descriptor == ENOSYS ? "this needs Linux 5.3 or later" : "\(HostFile.Failure(-descriptor))"
            throw QuiesceError(.refused, "\(identity) cannot be held: \(reason)")
        }
        // Looked at after it is held: if it is the one that is meant now, it is the one that the handle is of.
        guard ProcessTable.isAlive(identity) else {
            close(descriptor)
            return nil
        }
        self.identity = identity
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Sends a signal. Answers whether the process was still there. Throws `.refused` when it is not ours to send to.
    @discardableResult
    func send(_ signal: Int32) throws(QuiesceError) -> Bool {
        let code = -ps_signal(descriptor, signal)
        switch code {
        case 0: return true
        case ESRCH: return false
        default:
            let remedy = code == EPERM ? ": run becalm as its user, or as root" : ""
            throw QuiesceError(
                .refused, "\(identity) cannot be sent signal \(signal): \(HostFile.Failure(code))\(remedy)")
        }
    }

    /// Waits until the process has ended, `seconds` at the most; false when it has not.
    func waitForEnd(seconds: Double) async throws -> Bool {
        let hasEnded = try await DescriptorWait.isReadable(descriptor, seconds: seconds)
        return withExtendedLifetime(self) { hasEnded }
    }
}
