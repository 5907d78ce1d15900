internal import Basics
package import TensorFiles

/// How judges look at the tree: through links, within limits, and without errors for what can be said in a finding.
///
/// Belongs to one survey and to its thread.
package final class JudgeContext {
    package let tree: any StateTree
    package let options: SurveyOptions
    /// The directories read last, for judges look at the same ones.
    private var directories: [String: TreeDirectory] = [:]
    private var cachedEntries = 0
    private static let mostCachedEntries = 20_000
    /// A directory of which a judge saw only some entries, since the survey last asked.
    private var partial: String?

    package init(_ tree: any StateTree, options: SurveyOptions = SurveyOptions()) {
        self.tree = tree
        self.options = options
    }

    /// Whether content is to be read as well.
    package var isDeep: Bool { options.depth == .deep }

    /// Tells the survey's owner of bytes read. Throws `SurveyStop` when the owner wants no more; judges let it through.
    package func progress(_ bytes: Int) throws {
        do {
            try options.progress(bytes)
        } catch {
            throw SurveyStop(cause: error)
        }
    }

    // MARK: directories

    /// Where a path leads. Throws what the tree throws.
    package func resolve(_ path: String) throws -> PathResolution { try tree.resolve(path) }

    /// The entries of the directory at `path`, which may lead there along links, or nil when there is no directory. Its
    /// `path` is the one given. Throws what the tree throws.
    package func directory(_ path: String) throws -> TreeDirectory? {
        if let known = directories[path] {
            if known.isPartial { partial = path }
            return known
        }
        guard case .found(let place, let entry) = try tree.resolve(path), entry.kind == .directory else { return nil }
        return keep(try read(place, as: path))
    }

    /// The directory at `path`, whose entries the caller knows. Throws `SurveyStop`.
    func directory(_ path: String, entries: [TreeEntry]) throws -> TreeDirectory {
        try progress(0)
        let limit = options.directoryEntries
        return keep(
            TreeDirectory(
                path: path, name: name(path), entries: Array(entries.prefix(limit)), isPartial: entries.count > limit))
    }

    private func keep(_ directory: TreeDirectory) -> TreeDirectory {
        let path = directory.path
        if directory.isPartial { partial = path }
        guard directory.entries.count < Self.mostCachedEntries else { return directory }
        if cachedEntries + directory.entries.count > Self.mostCachedEntries || directories.count > 1000 {
            directories.removeAll()
            cachedEntries = 0
        }
        directories[path] = directory
        cachedEntries += directory.entries.count
        return directory
    }

    /// A directory that was asked for since the last call and has more entries than were looked at; nil when none has.
    func takePartial() -> String? {
        defer { partial = nil }
        return partial
    }

    private func read(_ place: String, as path: String) throws -> TreeDirectory {
        try progress(0)
        var entries: [TreeEntry] = []
        var isPartial = false
        try tree.list(place) { entry in
            guard entries.count < options.directoryEntries else {
                isPartial = true
                return false
            }
            entries.append(entry)
            return true
        }
        return TreeDirectory(path: path, name: name(path), entries: entries, isPartial: isPartial)
    }

    /// Formats tell themselves by the names of their directories, and people point at one of those.
    private func name(_ path: String) -> String? {
        path.isEmpty ? tree.location.map { TreePath.name($0) } : nil
    }

    /// Goes through all below a directory, links not followed. Keeps no more in memory than the names of directories not
    /// yet entered. Throws what the tree and `body` throw.
    ///
    /// - Parameter body: told the path relative to the tree's root and the entry of each file, directory and link; says
    ///   of a directory whether to enter it.
    package func walk(_ path: String, _ body: (String, TreeEntry) throws -> Bool) throws {
        var pending = [path]
        while let place = pending.popLast() {
            try progress(0)
            try tree.list(place) { entry in
                let entryPath = TreePath.join(place, entry.name)
                if try body(entryPath, entry), entry.kind == .directory { pending.append(entryPath) }
                return true
            }
        }
    }

    // MARK: files

    /// The entry of the file at `path`, behind links; nil when there is none, or it is no file. Throws what the tree
    /// throws.
    package func file(_ path: String) throws -> TreeEntry? {
        guard case .found(_, let entry) = try tree.resolve(path), entry.kind == .file else { return nil }
        return entry
    }

    /// What `parse` makes of the file at `path`, or why it cannot be read, in the same words: a file that is not there,
    /// or at the end of a link that leads nowhere, is `torn`; one outside the tree, or that the tree fails to read, is
    /// `unsupported`. Throws only `SurveyStop`.
    package func read<Value>(
        _ path: String, _ parse: (any TensorByteSource) throws -> Finding<Value>
    ) throws -> Finding<Value> {
        do {
            switch try tree.resolve(path) {
            case .found(let place, let entry):
                guard entry.kind == .file else { return .unsupported("no regular file") }
                return try parse(try tree.open(place))
            case .missing: return .torn(TornEvidence(kind: .missing, message: "no such file"))
            case .dangling(let link, let target):
                return .torn(
                    TornEvidence(kind: .missing, message: "the symbolic link \(link) leads to nothing: \(target)"))
            case .outside(let link, let target):
                return .unsupported("the symbolic link \(link) leads out of what was looked at: \(target)")
            }
        } catch let stop as SurveyStop {
            throw stop
        } catch {
            return .unsupported("it cannot be read: \(error)")
        }
    }

    /// The torch file at `path`; see `read(_:_:)`.
    package func torch(_ path: String) throws -> Finding<TorchFile> {
        try read(path) { try TorchFile.read($0, limits: options.files) }
    }

    /// The layout of the file of tensors at `path`; see `read(_:_:)`.
    package func layout(_ path: String) throws -> Finding<TensorLayout> {
        try read(path) { try TensorFile.layout($0, limits: options.files) }
    }

    /// The JSON file at `path`, as Python reads it; see `read(_:_:)` and `JSONValue.read`.
    package func json(_ path: String, keeping: Set<String>? = nil) throws -> Finding<JSONValue> {
        try read(path) { try JSONValue.read($0, keeping: keeping, limits: options.files) }
    }

    /// The text of a small file without white space around it; `unsupported` when it is longer than `most` bytes, `torn`
    /// when it is not UTF-8; see `read(_:_:)`.
    package func text(_ path: String, atMost most: Int = 4096) throws -> Finding<String> {
        try read(path) { source in
            guard source.size <= UInt64(most) else {
                return .unsupported("\(source.size) bytes, where some text was expected")
            }
            let bytes = try source.bytes(0..<source.size)
            guard let text = String(validating: bytes, as: UTF8.self) else {
                return .torn(TornEvidence(kind: .damaged, message: "a text that is not UTF-8"))
            }
            return .complete(text.trimmed)
        }
    }

    // MARK: content

    /// The digest of a file's bytes as lower-case hexadecimal digits, or why there is none; nil when the survey was given
    /// no such hash function. Reads all of the file.
    ///
    /// - Parameter prefix: bytes hashed before the file's.
    package func digest(
        _ path: String, _ algorithm: HashAlgorithm, prefix: (UInt64) -> [UInt8] = { _ in [] }
    ) throws -> Finding<String>? {
        guard var hasher = options.hasher?(algorithm) else { return nil }
        return try read(path) { source in
            prefix(source.size).withUnsafeBytes { hasher.update($0) }
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
            defer { buffer.deallocate() }
            var offset: UInt64 = 0
            while offset < source.size {
                let wanted = Int(min(UInt64(buffer.count), source.size - offset))
                let count = try source.read(
                    at: offset, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
                guard count > 0 else { return .unsupported("the file shrank while it was read") }
                hasher.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                offset += UInt64(count)
                try progress(count)
            }
            return .complete(Hex.encode(hasher.finish()))
        }
    }

    /// Checks the checksums in the archive of a torch file at `path` when the survey is deep, and tells `finding`: a
    /// mismatch is a note, because no loader looks at them, and not evidence.
    package func checkContent(
        of file: TorchFile, at path: String, _ finding: inout CheckpointFinding
    ) throws {
        guard isDeep, let archive = file.archive else { return }
        let check = try read(path) { try archive.checkContent($0, progress: progress) }
        guard let check = finding.accept(check, of: path) else { return }
        finding.take(check, of: path)
    }
}

extension CheckpointFinding {
    /// Takes what reading an archive's content found out. Bytes that do not have their recorded checksum make it
    /// `unknown`: its loader takes them, yet they are not what was saved.
    package mutating func take(_ check: ZipArchive.ContentCheck, of file: String) {
        if check.isWithoutChecksums { note("\(TreePath.shown(file)): CRC not recorded") }
        for member in check.mismatching.prefix(8) {
            doubt("\(TreePath.shown(file)): the bytes of \(member) do not have their recorded CRC")
        }
    }
}

/// The survey's owner wants no more. `Survey.run` throws the cause.
package struct SurveyStop: Error {
    package var cause: any Error
}
