internal import Basics
internal import SystemPackage

/// One process, held so that whatever is done goes to it and to no other that gets its number (pidfd_open(2)).
final class ProcessHandle: Sendable {
    let identity: ProcessIdentity
    private let descriptor: ProcessDescriptor

    /// Nil when the process has ended. Throws `.refused` on a system without such handles.
    init?(_ identity: ProcessIdentity) throws(QuiesceError) {
        do throws(Errno) {
            descriptor = try ProcessDescriptor(pid: identity.pid)
        } catch {
            if error == .noSuchProcess || error == .invalidArgument { return nil }
            let reason = error == .noFunction ? "this needs Linux 5.3 or later" : "\(error)"
            throw QuiesceError(.refused, "\(identity) cannot be held: \(reason)")
        }
        // Looked at after it is held: if it is the one that is meant now, it is the one that the handle is of.
        guard ProcessTable.isAlive(identity) else { return nil }
        self.identity = identity
    }

    /// Sends a signal. Answers whether the process was still there. Throws `.refused` when it is not ours to send to.
    @discardableResult
    func send(_ signal: Int32) throws(QuiesceError) -> Bool {
        do throws(Errno) {
            try descriptor.send(signal)
            return true
        } catch {
            if error == .noSuchProcess { return false }
            let remedy = error == .notPermitted ? ": run becalm as its user, or as root" : ""
            throw QuiesceError(.refused, "\(identity) cannot be sent signal \(signal): \(error)\(remedy)")
        }
    }

    /// Waits until the process has ended, `seconds` at the most; false when it has not.
    func waitForEnd(seconds: Double) async throws -> Bool {
        let hasEnded = try await DescriptorWait.isReadable(descriptor.rawValue, seconds: seconds)
        return withExtendedLifetime(descriptor) { hasEnded }
    }
}
