package import Basics
internal import Synchronization

/// A clock that stands still until it is told to go on.
package final class ManualWallClock: WallClock {
    private let time: Mutex<Timestamp>

    /// A clock that shows `start`: by default 2026-01-01T00:00:00Z.
    package init(_ start: Timestamp = Timestamp(seconds: 1_767_225_600)) { time = Mutex(start) }

    package func now() -> Timestamp { time.withLock { $0 } }

    /// Moves the clock; negative seconds turn it back.
    package func advance(bySeconds seconds: Double) {
        time.withLock { $0 = $0.advanced(bySeconds: seconds) }
    }
}
