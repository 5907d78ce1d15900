internal import RepositoryFormat

/// What a restore writes before everything else, in order: of the models in a snapshot first the small files that a server
/// reads to begin (configuration, tokenizer), then the weights, shard by shard, so that it can load while the rest comes.
///
/// Models are those of the inventory, which is not trusted: a path in it counts only if the snapshot's tree has it. What
/// commits a state is not among them: that is written last.
struct EarlyFiles {
    /// An entry that is no directory, by its path in the snapshot.
    struct Item {
        let path: [[UInt8]]
        let entry: TreeEntry
    }

    /// Directories whose small files count, by their paths.
    private var models: Set<[UInt8]> = []
    /// Repositories in a cache of `huggingface_hub`, by their paths.
    private var caches: Set<[UInt8]> = []
    /// Directories that lie above any of these.
    private var above: Set<[UInt8]> = []
    /// Positions of weights among all of them, by path.
    private var weights: [[UInt8]: Int] = [:]
    /// What commits a state, by path.
    private let late: Set<[UInt8]>

    private var small: [Item] = []
    private var large: [(order: Int, item: Item)] = []
    /// Contents in caches, which have no names of their own, by path.
    private var blobs: [[UInt8]: Item] = [:]
    /// Links to them, in the order in which they are met.
    private var links: [Item] = []

    /// Files and links of caches that are looked at; what is beyond comes with the rest. 10,000 take some 10 MB.
    private static let mostCached = 10_000
    /// A larger file is none that a server reads to begin: the largest tokenizers have some 30 MB.
    private static let mostSmallBytes: UInt64 = 64 << 20

    /// Those of `inventory`; nil where there is no model. `late` are the paths of what commits states.
    init?(_ inventory: StateInventory, late: Set<[UInt8]>) {
        self.late = late
        // One that is torn serves nobody.
        for state in inventory.states where state.kind == "model" && state.judgement != "torn" {
            guard let path = StatePath.directory(state.path) else { continue }
            if let files = state.files {
                for file in files.compactMap(StatePath.components) {
                    addAbove(file)
                    models.insert(StatePath.key(file.dropLast()))
                    let key = StatePath.key(file)
                    if !late.contains(key), weights[key] == nil { weights[key] = weights.count }
                }
            } else if state.format == "huggingface-cache" {
                addAbove(path)
                caches.insert(StatePath.key(path))
                above.insert(StatePath.key(path))
            }
        }
        if models.isEmpty, caches.isEmpty { return nil }
    }

    private mutating func addAbove(_ path: [[UInt8]]) {
        for depth in 1..<max(path.count, 1) { above.insert(StatePath.key(path[..<depth])) }
    }

    /// Whether something may be in the directory.
    func looksInto(_ path: [[UInt8]]) -> Bool {
        if above.contains(StatePath.key(path)) { return true }
        guard let cache = cache(of: path) else { return false }
        return path[cache] == Self.snapshots || path[cache] == Self.blobsName && path.count == cache + 1
    }

    private static let snapshots = Array("snapshots".utf8)
    private static let blobsName = Array("blobs".utf8)

    /// Components of the cache's repository that `path` lies in, which is not the repository itself; nil outside of any.
    private func cache(of path: [[UInt8]]) -> Int? {
        guard !caches.isEmpty else { return nil }
        return path.indices.dropFirst().first { caches.contains(StatePath.key(path[..<$0])) }
            ?? (caches.contains([]) && !path.isEmpty ? 0 : nil)
    }

    /// Takes an entry that is no directory, if it is one of them.
    mutating func take(_ path: [[UInt8]], _ entry: TreeEntry) {
        let key = StatePath.key(path)
        guard !late.contains(key) else { return }
        let item = Item(path: path, entry: entry)
        if let order = weights[key] {
            large.append((order, item))
        } else if let cache = cache(of: path) {
            guard blobs.count + links.count < Self.mostCached else { return }
            if path[cache] == Self.blobsName {
                blobs[key] = item
            } else if entry.metadata.type == .symbolicLink {
                links.append(item)
            } else {
                // On file systems without links a snapshot holds the files themselves.
                place(item, named: entry.name)
            }
        } else if models.contains(StatePath.key(path.dropLast())), Self.isSmall(entry, named: entry.name) {
            small.append(item)
        }
    }

    private mutating func place(_ item: Item, named name: [UInt8]) {
        if Self.isSmall(item.entry, named: name) {
            small.append(item)
        } else {
            large.append((weights.count + large.count, item))
        }
    }

    /// What is to be restored, in this order: the files that a server reads to begin, and the weights.
    mutating func groups() -> [[Item]] {
        for link in links {
            small.append(link)
            guard let target = Self.target(of: link), let blob = blobs.removeValue(forKey: target) else { continue }
            place(blob, named: link.entry.name)
        }
        links = []
        return [small, large.sorted { $0.order < $1.order }.map(\.item)]
    }

    /// Where a link leads, in the snapshot; nil when that is outside of it.
    private static func target(of link: Item) -> [UInt8]? {
        var path = Array(link.path.dropLast())
        let slash = StatePath.slash
        guard link.entry.metadata.linkTarget.first != slash else { return nil }
        for component in link.entry.metadata.linkTarget.split(separator: slash) {
            if component.elementsEqual([UInt8(ascii: ".")]) { continue }
            if component.elementsEqual(Array("..".utf8)) {
                guard path.popLast() != nil else { return nil }
            } else {
                path.append(Array(component))
            }
        }
        return StatePath.key(path)
    }

    /// Whether a server reads the file before it loads weights: configuration, tokenizers, templates, a model's own code.
    private static func isSmall(_ entry: TreeEntry, named name: [UInt8]) -> Bool {
        guard entry.metadata.type == .regular, entry.metadata.size <= mostSmallBytes else { return false }
        let text = String(decoding: name, as: UTF8.self)
        return suffixes.contains { text.hasSuffix($0) } || names.contains(text)
    }

    /// `tokenizer.model`, `merges.txt` and `vocab.txt` by name: others that end so may be anything.
    private static let suffixes = [".json", ".jinja", ".tiktoken", ".py", ".yaml"]
    private static let names: Set = [
        "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "merges.txt", "vocab.txt",
    ]
}
