/// The rule for names of objects, in one place for every store: relative, `/`-separated, at most 512 bytes of
/// `[A-Za-z0-9._/-]`, no empty, `.` or `..` component. So a name means the same in a URL, a path and a log line.
package enum ObjectKey {
    /// Bytes in a name at most. S3 allows 1024 with the bucket's prefix included.
    package static let maximumBytes = 512

    /// Throws `.invalidArgument` unless `key` follows the rule. `action` is a verb for the message: "store", "read".
    package static func check(_ key: String, _ action: String) throws(ObjectStorageError) {
        if let problem = problem(key, isPrefix: false) {
            throw ObjectStorageError(
                .invalidArgument,
                "cannot \(action) an object named \(shown(key)): \(problem); this is a bug in the caller")
        }
    }

    /// Throws `.invalidArgument` unless `prefix` can begin a name: empty, or names' beginning, cut anywhere.
    package static func checkPrefix(_ prefix: String) throws(ObjectStorageError) {
        if prefix.isEmpty { return }
        if let problem = problem(prefix, isPrefix: true) {
            throw ObjectStorageError(
                .invalidArgument,
                "cannot list objects that begin with \(shown(prefix)): \(problem); this is a bug in the caller"
            )
        }
    }

    /// Whether `name` may stand between two slashes of a key.
    static func isComponent(_ name: String) -> Bool {
        !name.isEmpty && name != "." && name != ".." && name.utf8.allSatisfy(isAllowed)
    }

    private static func problem(_ key: String, isPrefix: Bool) -> String? {
        if key.isEmpty { return "a name has at least one byte" }
        if key.utf8.count > maximumBytes { return "a name has at most \(maximumBytes) bytes" }
        let components = key.split(separator: "/", omittingEmptySubsequences: false)
        for (index, component) in components.enumerated() {
            guard component.utf8.allSatisfy(isAllowed) else {
                return "only letters, digits, '.', '_', '-' and '/' are allowed"
            }
            if isPrefix && index == components.count - 1 { break }
            if component.isEmpty { return "no part between two slashes may be empty" }
            if component == "." || component == ".." { return "'.' and '..' are no parts of a name" }
        }
        return nil
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// The name in quotes, control characters escaped and cut short, so that a message stays one line.
    private static func shown(_ key: String) -> String {
        key.count > 80 ? String(reflecting: String(key.prefix(80))) + "..." : String(reflecting: key)
    }
}
