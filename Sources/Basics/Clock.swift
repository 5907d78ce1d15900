#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Good from 1678 to 2262.
package struct Timestamp: Hashable, Comparable, Sendable {
    /// Nanoseconds since the epoch, negative before it.
    package var nanoseconds: Int64

    /// From nanoseconds since the epoch.
    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// From whole seconds since the epoch.
    package init(seconds: Int64) { nanoseconds = seconds &* 1_000_000_000 }

    /// Whole seconds since the epoch, rounded down.
    package var seconds: Int64 {
        let whole = nanoseconds / 1_000_000_000
        return nanoseconds % 1_000_000_000 < 0 ? whole - 1 : whole
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool { left.nanoseconds < right.nanoseconds }

    /// Seconds from `right` to `left`.
    package static func - (left: Timestamp, right: Timestamp) -> Double {
        Double(left.nanoseconds - right.nanoseconds) / 1e9
    }

    /// `seconds` later.
    package func advanced(bySeconds seconds: Double) -> Timestamp {
        Timestamp(nanoseconds: nanoseconds + Int64(seconds * 1e9))
    }
}

/// The time of day, as a parameter: nothing below the command line reads the machine's clock by itself.
package protocol WallClock: Sendable {
    /// Now.
    func now() -> Timestamp
}

/// The machine's clock.
package struct SystemWallClock: WallClock {
    /// The machine's clock (CLOCK_REALTIME).
    package init() {}

    package func now() -> Timestamp {
        var value = timespec()
        clock_gettime(CLOCK_REALTIME, &value)
        return Timestamp(nanoseconds: Int64(value.tv_sec) * 1_000_000_000 + Int64(value.tv_nsec))
    }
}
