/// Names of directory entries as raw bytes: which may be used, and how they reach the system.
package enum EntryName {
    /// Longest name that Linux takes (NAME_MAX, limits.h).
    package static let maximumBytes = 255

    /// Why `name` cannot be one entry of a directory, or nil when it can: not empty, not `.` or `..`, no `/` and no NUL,
    /// at most 255 bytes. A name that passes cannot lead out of the directory it is looked up in.
    package static func problem(_ name: [UInt8]) -> String? {
        if name.isEmpty { return "an empty name" }
        if name.count > maximumBytes { return "a name of \(name.count) bytes; at most \(maximumBytes) are possible" }
        if name == [dot] || name == [dot, dot] { return "a name that stands for another directory" }
        for byte in name where byte == slash || byte == 0 {
            return byte == 0 ? "a name with a NUL byte" : "a name with a slash"
        }
        return nil
    }

    /// Throws `.refusedPath` unless `name` can be one entry of the directory at `parent`.
    static func validate(_ name: [UInt8], in parent: [UInt8]) throws(SnapshotError) {
        guard let problem = problem(name) else { return }
        throw SnapshotError(
            .refusedPath, "refused \(PathText.display(name)) in \(PathText.display(parent)): \(problem)", path: name)
    }

    /// `parent` and `name` with a slash between.
    static func join(_ parent: [UInt8], _ name: [UInt8]) -> [UInt8] {
        var path: [UInt8] = []
        path.reserveCapacity(parent.count + 1 + name.count)
        path += parent
        if parent.last != slash { path.append(slash) }
        path += name
        return path
    }

    /// Runs `body` with `bytes` and a NUL behind them. The caller has made sure that there is none inside.
    static func withTerminated<R>(_ bytes: [UInt8], _ body: (UnsafePointer<CChar>) -> R) -> R {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: bytes.count + 1) { buffer in
            for index in bytes.indices { buffer[index] = CChar(bitPattern: bytes[index]) }
            buffer[bytes.count] = 0
            return body(UnsafePointer(buffer.baseAddress.unsafelyUnwrapped))
        }
    }

    private static let dot = UInt8(ascii: ".")
    private static let slash = UInt8(ascii: "/")
}
