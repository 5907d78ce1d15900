/// What `Content-Range` says: `bytes 0-9/100` (RFC 9110, section 14.4).
struct ContentRange: Equatable {
    let range: Range<UInt64>
    /// Nil when the server does not know it.
    let total: UInt64?

    /// Nil for anything malformed.
    static func parse(_ text: String) -> ContentRange? {
        guard text.hasPrefix("bytes ") else { return nil }
        let parts = text.dropFirst("bytes ".count).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let first = UInt64(ends[0]), let last = UInt64(ends[1]), first <= last, last < .max
        else {
            return nil
        }
        let total = UInt64(parts[1])
        if total == nil, parts[1] != "*" { return nil }
        if let total, last >= total { return nil }
        return ContentRange(range: first..<last + 1, total: total)
    }
}
