#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Compares texts by their UTF-8 bytes, as Go and JSON do: `String`'s own `==` and `<` take an accented letter and a
/// letter with an accent behind it for the same, and would make two labels one.
enum UTF8Order {
    /// Negative, zero or positive as `left` stands before, at or behind `right`.
    static func compare(_ left: String, _ right: String) -> Int {
        var left = left
        var right = right
        return left.withUTF8 { left in
            right.withUTF8 { right in
                let common = min(left.count, right.count)
                if common > 0, let first = left.baseAddress, let second = right.baseAddress {
                    let order = memcmp(first, second, common)
                    if order != 0 { return Int(order) }
                }
                return left.count - right.count
            }
        }
    }

    /// Whether both are the same bytes.
    static func areEqual(_ left: String, _ right: String) -> Bool {
        left.utf8.count == right.utf8.count && compare(left, right) == 0
    }
}
