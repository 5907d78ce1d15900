internal import Basics

/// A tree in which a `BaseSearch` looks for files.
protocol BaseTree {
    associatedtype Directory
    associatedtype File

    /// Where every path begins.
    var root: Directory { get }

    /// What is called `name` in `directory`: a directory, or a file that is large enough to be cut; nil for anything else.
    func entry(named name: [UInt8], in directory: Directory) throws -> BaseTreeEntry<Directory, File>?

    /// The same for all names that `fits` says yes to, and how many names were looked at, `most` or a few more.
    func entries(
        of directory: Directory, most: Int, where fits: ([UInt8]) -> Bool
    ) throws -> (entries: [BaseTreeEntry<Directory, File>], names: Int)
}

/// Something in a `BaseTree`.
struct BaseTreeEntry<Directory, File> {
    enum Content {
        case directory(Directory)
        case file(File)
    }

    var name: [UInt8]
    var modified: Timestamp
    var content: Content
}

/// Looks for the files that a new file most likely resembles: those whose paths differ from its own in numbers only, as
/// `checkpoint-500/model.safetensors` and `checkpoint-600/model.safetensors` do.
///
/// Used by one thread; blocks.
final class BaseSearch<Tree: BaseTree> {
    /// Directories and names that are looked at for one file at the most.
    private static var mostDirectories: Int { 64 }
    private static var mostNames: Int { 10_000 }
    /// Directories in all; beyond it nothing more is found.
    private static var mostDirectoriesRead: Int { 4096 }

    private let tree: Tree
    private var directoriesRead = 0
    /// Where files like the last one were found: others that lie beside it are looked for there first.
    private var last: (parent: [[UInt8]], directories: [Tree.Directory])?

    private struct Found {
        var file: Tree.File
        var directory: Tree.Directory
        /// Components of the path that are the same.
        var same: Int
        var modified: Timestamp
    }

    private struct Pass {
        var path: [[UInt8]]
        /// Whether the file's own name must be the same, and only directories may differ.
        var keepsName: Bool
        var directories = 0
        var names = 0
        var found: [Found] = []

        var isOver: Bool { directories >= BaseSearch.mostDirectories || names >= BaseSearch.mostNames }
    }

    init(_ tree: Tree) { self.tree = tree }

    /// At most `most` files like the one at `path`, the most alike first: those of the same name, of these the ones with
    /// most components the same, of these the newest. Never the file at `path` itself.
    func files(like path: [[UInt8]], most: Int) throws -> [Tree.File] {
        guard let name = path.last else { return [] }
        let parent = Array(path.dropLast())
        if let last, last.parent == parent {
            let files = try last.directories.compactMap { directory -> Tree.File? in
                guard case .file(let file)? = try tree.entry(named: name, in: directory)?.content else { return nil }
                return file
            }
            if !files.isEmpty { return files }
        }
        for keepsName in [true, false] where directoriesRead < Self.mostDirectoriesRead {
            var pass = Pass(path: path, keepsName: keepsName)
            try look(into: tree.root, depth: 0, same: 0, &pass)
            directoriesRead += pass.directories
            guard !pass.found.isEmpty else { continue }
            let best = pass.found.sorted { ($0.same, $0.modified) > ($1.same, $1.modified) }.prefix(most)
            if keepsName { last = (parent, best.map(\.directory)) }
            return best.map(\.file)
        }
        return []
    }

    private func look(into directory: Tree.Directory, depth: Int, same: Int, _ pass: inout Pass) throws {
        guard depth < pass.path.count, !pass.isOver else { return }
        pass.directories += 1
        let name = pass.path[depth]
        let isLast = depth == pass.path.count - 1
        var found: [BaseTreeEntry<Tree.Directory, Tree.File>]
        if isLast && pass.keepsName {
            pass.names += 1
            found = try tree.entry(named: name, in: directory).map { [$0] } ?? []
        } else {
            let pattern = Self.pattern(of: name)
            let (entries, names) = try tree.entries(of: directory, most: Self.mostNames - pass.names) {
                $0 == name || Self.pattern(of: $0) == pattern
            }
            pass.names += names
            found = entries
        }
        // The newest first, but before all the one of the same name: that is the most alike.
        found.sort { ($0.name == name ? 1 : 0, $0.modified) > ($1.name == name ? 1 : 0, $1.modified) }
        for entry in found {
            let now = same + (entry.name == name ? 1 : 0)
            switch entry.content {
            case .directory(let child) where !isLast: try look(into: child, depth: depth + 1, same: now, &pass)
            case .file(let file) where isLast && now < pass.path.count:
                pass.found.append(Found(file: file, directory: directory, same: now, modified: entry.modified))
            case .directory, .file: continue
            }
        }
    }

    /// The name with each run of digits as one `#`.
    private static func pattern(of name: [UInt8]) -> [UInt8] {
        var pattern: [UInt8] = []
        for byte in name {
            let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            if isDigit, pattern.last == UInt8(ascii: "#") { continue }
            pattern.append(isDigit ? UInt8(ascii: "#") : byte)
        }
        return pattern
    }
}
