internal import Snapshots
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Where directories of nodes and of NFS servers are mounted in this pod, and nothing else of either.
///
/// A volume's path is walked component by component as the node or the server would: a symbolic link leads where it leads
/// there, not in this pod, and one that leads out of the roots is refused.
struct VolumeRoots: Hashable, Sendable {
    /// Whose paths they are.
    enum Space: Hashable, Sendable {
        case node
        case server(String)

        init(_ volume: VolumeID) { self = volume.kind == .nfs ? .server(volume.server.lowercased()) : .node }
    }

    /// A directory there and where it is here.
    struct Root: Hashable, Sendable {
        var space: Space
        var path: VolumePath
        /// Absolute, in this pod.
        var mount: VolumePath
    }

    /// A directory as it was found.
    struct Directory: Hashable, Sendable {
        /// Here: raw, absolute, without a symbolic link below the root's own.
        var path: [UInt8]
        /// Another directory at the same path, such as the one that a file system was mounted on, has others.
        var device: UInt64
        var inode: UInt64
    }

    /// What a path is here.
    enum Place: Hashable, Sendable {
        case directory(Directory)
        /// Something else, by its name.
        case other(String)
        case missing
        /// Not below any root.
        case outside
    }

    var roots: [Root]

    /// Links in one path at the most, as Linux has it (path_resolution(7)).
    private static let mostLinks = 40

    /// Whether a volume's path is below a root, links not looked at.
    func holds(_ volume: VolumeID) -> Bool { locate(Self.bytes(volume.path), Space(volume)) != nil }

    /// The path here of components there: below the longest root that fits. The second is how much of it is the root's.
    private func locate(_ components: [[UInt8]], _ space: Space) -> (path: [UInt8], depth: Int)? {
        let fitting = roots.filter { $0.space == space && components.starts(with: Self.bytes($0.path)) }
        guard let root = fitting.max(by: { $0.path.components.count < $1.path.components.count }) else { return nil }
        let depth = root.path.components.count
        let all = Self.bytes(root.mount) + components[depth...]
        return ([0x2f] + all.joined(separator: [0x2f]), depth)
    }

    private static func bytes(_ path: VolumePath) -> [[UInt8]] { path.components.map { Array($0.utf8) } }

    /// What is at a volume's path. Blocks. Throws `invalidArgument` for a link that leads out of the roots, or to nowhere
    /// in a circle, and `failed` for what cannot be looked at.
    func look(_ volume: VolumeID) throws(VeleroError) -> Place {
        let space = Space(volume)
        var pending = Self.bytes(volume.path)
        guard locate(pending, space) != nil else { return .outside }
        var done: [[UInt8]] = []
        var links = 0
        while let next = pending.first {
            pending.removeFirst()
            guard next != Array("..".utf8) else {
                _ = done.popLast()
                continue
            }
            done.append(next)
            // Above a root nothing can be looked at; the root itself is the configuration's, links and all.
            guard let here = locate(done, space), here.depth < done.count else { continue }
            switch try Self.entry(here.path, volume) {
            case .link(let target):
                links += 1
                guard links <= Self.mostLinks else { throw refused(volume, "its links lead in a circle") }
                done.removeLast()
                if target.first == 0x2f {
                    guard case .node = space else {
                        throw refused(
                            volume, "the link \(PathText.display(here.path)) leads to a place of its server's")
                    }
                    done = []
                }
                pending = target.split(separator: 0x2f).map(Array.init).filter { $0 != [0x2e] } + pending
            case .directory: break
            case .other(let what):
                guard pending.isEmpty else {
                    throw refused(volume, "\(PathText.display(here.path)) is \(what) and no directory")
                }
                return .other(what)
            case .missing: return .missing
            }
        }
        guard let here = locate(done, space) else {
            throw refused(volume, "links in it lead out of the configured roots")
        }
        switch try Self.entry(here.path, volume, follows: here.depth == done.count) {
        case .directory(let device, let inode):
            return .directory(Directory(path: here.path, device: device, inode: inode))
        case .missing: return .missing
        case .other(let what): return .other(what)
        case .link: throw refused(volume, "\(PathText.display(here.path)) was replaced by a link meanwhile")
        }
    }

    private func refused(_ volume: VolumeID, _ reason: String) -> VeleroError {
        VeleroError(.invalidArgument, "the volume \(volume.place) is refused: \(reason)")
    }

    private enum Entry {
        case missing
        case directory(device: UInt64, inode: UInt64)
        case link([UInt8])
        case other(String)
    }

    private static func entry(
        _ path: [UInt8], _ volume: VolumeID, follows: Bool = false
    ) throws(VeleroError) -> Entry {
        let terminated = path.map { CChar(bitPattern: $0) } + [0]
        var facts = stat()
        guard fstatat(AT_FDCWD, terminated, &facts, follows ? 0 : AT_SYMLINK_NOFOLLOW) == 0 else {
            let reason = Errno(rawValue: errno)
            if reason == .noSuchFileOrDirectory { return .missing }
            throw VeleroError(
                reason == .permissionDenied ? .accessDenied : .failed,
                "cannot look at the volume \(volume.place): \(PathText.display(path)): \(reason)", cause: reason)
        }
        switch facts.st_mode & S_IFMT {
        case S_IFDIR: return .directory(device: UInt64(facts.st_dev), inode: UInt64(facts.st_ino))
        case S_IFLNK:
            var target = [UInt8](repeating: 0, count: 4096)
            let count = target.withUnsafeMutableBytes { buffer -> Int in
                guard let start = buffer.assumingMemoryBound(to: CChar.self).baseAddress else { return -1 }
                return readlink(terminated, start, buffer.count)
            }
            guard count > 0 else {
                let reason = Errno(rawValue: errno)
                throw VeleroError(.failed, "cannot read the link \(PathText.display(path)): \(reason)", cause: reason)
            }
            return .link(Array(target.prefix(count)))
        case S_IFREG: return .other("a file")
        case S_IFBLK: return .other("a block device")
        default: return .other("a special file")
        }
    }
}
