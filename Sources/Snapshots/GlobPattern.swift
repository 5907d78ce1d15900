/// A shell pattern over a path's bytes: `*` and `?` stay within a component, `**` crosses them, `[a-z]` and `[!a]` are
/// classes, `\` takes the next character as it is.
///
/// A pattern without `/` fits a name anywhere; one with `/` fits the whole path from the snapshot's root (a leading `/`
/// is dropped).
package struct GlobPattern: Sendable {
    private let pattern: [UInt8]
    private let isNameOnly: Bool

    package init(_ text: String) {
        var bytes = Array(text.utf8)
        isNameOnly = !bytes.contains(0x2f)
        if bytes.first == 0x2f { bytes.removeFirst() }
        if bytes.last == 0x2f { bytes.removeLast() }
        pattern = bytes
    }

    /// Whether the entry with these components fits.
    package func matches(_ path: [[UInt8]]) -> Bool {
        if isNameOnly { return path.last.map { Self.match(pattern, $0) } ?? false }
        return Self.match(pattern, Array(path.joined(separator: [0x2f])))
    }

    /// Whether the entry or a directory above it fits.
    package func matchesOrContains(_ path: [[UInt8]]) -> Bool {
        (1...max(path.count, 1)).contains { $0 <= path.count && matches(Array(path.prefix($0))) }
    }

    /// Matching with one point of return for `*` and one for `**`: no exponential patterns.
    private static func match(_ pattern: [UInt8], _ text: [UInt8]) -> Bool {
        var p = 0
        var t = 0
        var star: (pattern: Int, text: Int)?
        var globstar: (pattern: Int, text: Int)?
        while t < text.count {
            if p < pattern.count, pattern[p] == 0x2a {
                if p + 1 < pattern.count, pattern[p + 1] == 0x2a {
                    p += 2
                    // `**/` also stands for no directory at all.
                    if p < pattern.count, pattern[p] == 0x2f, t == 0 || text[t - 1] == 0x2f { p += 1 }
                    globstar = (p, t)
                    star = nil
                    continue
                }
                p += 1
                star = (p, t)
                continue
            }
            if let next = step(pattern, p, text[t]) {
                p = next
                t += 1
                continue
            }
            if let back = star, text[back.text] != 0x2f {
                star = (back.pattern, back.text + 1)
                (p, t) = (back.pattern, back.text + 1)
                continue
            }
            if let back = globstar {
                globstar = (back.pattern, back.text + 1)
                star = nil
                (p, t) = (back.pattern, back.text + 1)
                continue
            }
            return false
        }
        while p < pattern.count, pattern[p] == 0x2a { p += 1 }
        return p == pattern.count
    }

    /// The pattern's position after it has taken `byte` at `position`, or nil when it does not.
    private static func step(_ pattern: [UInt8], _ position: Int, _ byte: UInt8) -> Int? {
        guard position < pattern.count else { return nil }
        switch pattern[position] {
        case 0x3f: return byte == 0x2f ? nil : position + 1
        case 0x5c where position + 1 < pattern.count: return pattern[position + 1] == byte ? position + 2 : nil
        case 0x5b:
            guard let end = pattern[(position + 1)...].dropFirst().firstIndex(of: 0x5d) else { break }
            var members = pattern[(position + 1)..<end]
            let isNegated = members.first == 0x21 || members.first == 0x5e
            if isNegated { members = members.dropFirst() }
            var fits = false
            var index = members.startIndex
            while index < members.endIndex {
                if index + 2 < members.endIndex, members[index + 1] == 0x2d {
                    if members[index]...max(members[index], members[index + 2]) ~= byte { fits = true }
                    index += 3
                } else {
                    if members[index] == byte { fits = true }
                    index += 1
                }
            }
            return fits != isNegated && byte != 0x2f ? end + 1 : nil
        default: break
        }
        return pattern[position] == byte ? position + 1 : nil
    }
}
