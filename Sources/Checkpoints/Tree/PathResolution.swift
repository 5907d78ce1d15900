/// Where a path leads when the symbolic links on it are followed.
package enum PathResolution: Hashable, Sendable {
    /// To this entry, at this path without links.
    case found(path: String, entry: TreeEntry)
    /// To nothing, and no link is to blame.
    case missing
    /// Along a link to nothing: `link` is its path, `target` what it says. A circle of links too.
    case dangling(link: String, target: String)
    /// Along a link out of the tree, where nothing can be said.
    case outside(link: String, target: String)
}

extension StateTree {
    /// Links followed on one path, as in Linux (`MAXSYMLINKS`).
    private static var mostLinks: Int { 40 }

    /// Follows the links on a path. Throws what the tree throws.
    package func resolve(_ path: String) throws -> PathResolution {
        var pending = Self.parts(path)
        var done: [String] = []
        var last: (link: String, target: String)?
        var links = 0
        var found = TreeEntry(name: "", kind: .directory)
        while let part = pending.popLast() {
            if part == "." { continue }
            guard found.kind == .directory else { return Self.lost(last) }
            if part == ".." {
                guard done.popLast() != nil else {
                    return last.map { .outside(link: $0.link, target: $0.target) } ?? .missing
                }
                continue
            }
            let place = (done + [part]).joined(separator: "/")
            guard let entry = try entry(place) else { return Self.lost(last) }
            guard case .symlink(let target) = entry.kind else {
                done.append(part)
                found = entry
                continue
            }
            last = (place, target)
            links += 1
            guard links <= Self.mostLinks, !target.isEmpty else { return Self.lost(last) }
            if target.hasPrefix("/") {
                guard let inner = inside(target) else { return .outside(link: place, target: target) }
                done = []
                pending += Self.parts(inner)
            } else {
                pending += Self.parts(target)
            }
        }
        let place = done.joined(separator: "/")
        guard !done.isEmpty else { return .found(path: "", entry: TreeEntry(name: "", kind: .directory)) }
        // A directory may have been reached from below, by "..".
        if found.kind == .directory, let entry = try entry(place) { found = entry }
        return .found(path: place, entry: found)
    }

    private static func lost(_ last: (link: String, target: String)?) -> PathResolution {
        last.map { .dangling(link: $0.link, target: $0.target) } ?? .missing
    }

    /// The names on a path, the last first.
    private static func parts(_ path: String) -> [String] {
        path.split(separator: "/").reversed().map { String($0) }
    }

    /// The path relative to the root of an absolute one that lies below it.
    private func inside(_ target: String) -> String? {
        guard let location else { return nil }
        let root = location == "/" ? "/" : location + "/"
        if target == location { return "" }
        return target.hasPrefix(root) ? String(target.dropFirst(root.count)) : nil
    }
}
