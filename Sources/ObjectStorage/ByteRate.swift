internal import Synchronization

/// So many bytes a second on average: whoever wants to move some waits until those before are paid for.
final class ByteRate: Sendable {
    private let bytesPerSecond: Double
    private let timing: Timing
    /// When everything booked so far is paid for.
    private let paid: Mutex<Double>

    /// A rate at which nothing has been booked.
    init(bytesPerSecond: Int, timing: Timing) {
        precondition(bytesPerSecond > 0)
        self.bytesPerSecond = Double(bytesPerSecond)
        self.timing = timing
        paid = Mutex(-.infinity)
    }

    /// Books `bytes` and waits for those booked before. Throws, with the booking undone, when the task is cancelled.
    func wait(thenBook bytes: Int) async throws(CancellationError) {
        let delay = book(bytes)
        guard delay > 0 else { return }
        do throws(CancellationError) { try await timing.sleep(delay) } catch {
            _ = book(-bytes)
            throw error
        }
    }

    /// Books `bytes`, negative ones to correct; seconds until those booked before are paid for.
    @discardableResult
    func book(_ bytes: Int) -> Double {
        let now = timing.now()
        return paid.withLock { paid in
            let start = max(paid, now)
            // A correction must not be lost to the passing of time: it reduces what is still open, if anything is.
            paid = bytes >= 0 ? start + Double(bytes) / bytesPerSecond : max(now, paid + Double(bytes) / bytesPerSecond)
            return start - now
        }
    }
}
