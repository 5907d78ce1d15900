internal import TensorFiles

/// A directory of PyTorch's distributed checkpoints (DCP), which is a part of something, or stands for itself.
///
/// The writer (`FileSystemWriter.finish`) syncs the data files, writes `.metadata.tmp`, removes `.metadata` and renames the
/// one to the other: that is the commit. Without collective calls each rank does so with `__RANK.metadata`.
package struct DistributedPart {
    private let directory: TreeDirectory
    private let context: JudgeContext
    private var finding: CheckpointFinding
    /// Items that may hold the step, and where.
    private var steps: [(file: String, item: DistributedMetadata.Item)] = []

    /// The file that commits a save.
    package static let metadataName = ".metadata"

    /// Whether a name is a data file's: `__0_0.distcp`.
    package static func isData(_ name: String) -> Bool { name.hasSuffix(".distcp") }

    /// Whether the entries are those of a checkpoint, or of what is left of one.
    package static func isLikely(_ directory: TreeDirectory) -> Bool {
        directory.entries.contains { entry in
            entry.kind != .directory
                && (isData(entry.name) || entry.name == metadataName || entry.name == metadataName + ".tmp")
        }
    }

    /// Holds the directory against the rules, and puts what comes out into `finding`: also commit markers, files in
    /// progress, totals, and the step if it has none. Throws what the tree throws.
    package static func judge(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws {
        var part = DistributedPart(directory: directory, context: context, finding: finding)
        try part.judge()
        finding = part.finding
    }

    private init(directory: TreeDirectory, context: JudgeContext, finding: CheckpointFinding) {
        self.directory = directory
        self.context = context
        self.finding = finding
    }

    /// `__3.metadata` gives 3.
    private static func rank(_ name: String) -> Int64? { name.number(after: "__", before: metadataName) }

    private mutating func judge() throws {
        let data = directory.entries.filter { Self.isData($0.name) }
        data.forEach { finding.take($0) }
        let temporary = directory.fileNames.filter { $0.hasSuffix("\(Self.metadataName).tmp") }
        finding.inProgress += temporary.map { directory.path($0) }
        let alone = directory.fileNames.filter { Self.rank($0) != nil }
        if directory.hasFile(Self.metadataName) {
            try judgeCommitted([Self.metadataName], temporary: temporary, data: data)
        } else if !alone.isEmpty {
            checkRanks(alone, data)
            try judgeCommitted(alone, temporary: temporary, data: data)
        } else {
            finding.tear(
                directory.path(Self.metadataName), expected: "the file that commits the save",
                found: temporary.isEmpty
                    ? "none, beside \(data.count) data files" : "\(temporary[0]), which was not renamed")
        }
        if finding.step == nil { finding.step = try readStep() }
    }

    /// Every rank writes its own metadata when it is done, and 0 is the first of them.
    private mutating func checkRanks(_ names: [String], _ data: [TreeEntry]) {
        let committed = Set(names.compactMap { Self.rank($0) })
        let written = Set(
            data.compactMap { entry -> Int64? in
                guard entry.name.hasPrefix("__"), let end = entry.name.dropFirst(2).firstIndex(of: "_") else {
                    return nil
                }
                return Int64(entry.name.dropFirst(2)[..<end])
            })
        let highest = max(committed.max() ?? 0, written.max() ?? 0)
        guard highest < 1 << 20 else { return finding.doubt("\(directory.path) has a rank \(highest)") }
        for rank in 0...highest where !committed.contains(rank) {
            finding.tear(
                .missing(
                    directory.path("__\(rank)\(Self.metadataName)"),
                    because: "the metadata of rank \(rank), of \(highest + 1) or more"))
        }
    }

    private mutating func judgeCommitted(_ names: [String], temporary: [String], data: [TreeEntry]) throws {
        var known: Set<String> = []
        var covered: [String: (all: UInt64, there: UInt64)] = [:]
        for name in names {
            let path = directory.path(name)
            finding.commitMarkers.append(path)
            let entry = try context.file(path)
            finding.take(entry)
            let read = try context.read(path) { try DistributedMetadata.read($0, limits: context.options.files) }
            guard let metadata = finding.accept(read, of: path) else { continue }
            known.formUnion(metadata.files)
            try checkFiles(of: metadata, committed: entry?.modified)
            checkItems(of: metadata, path)
            for tensor in metadata.tensors {
                var sum = covered[tensor.name] ?? (TensorDType.elements(of: tensor.shape) ?? 0, 0)
                for chunk in tensor.chunks { sum.there &+= TensorDType.elements(of: chunk.sizes) ?? 0 }
                covered[tensor.name] = sum
            }
            steps += metadata.items.filter { Self.stepNames.contains($0.name) }
                .map { (directory.path(metadata.files[$0.file]), $0) }
            if temporary.contains(name + ".tmp") {
                finding.doubt("\(path).tmp is there: another save over this one did not come to its end")
            }
        }
        // Of pieces that overlap, nothing is said.
        for (name, sum) in covered.sorted(by: { $0.key < $1.key }) where sum.there < sum.all {
            finding.doubt("the pieces of \"\(name)\" hold \(sum.there) of its \(sum.all) elements")
        }
        let spare = data.filter { !known.contains($0.name) }
        if !spare.isEmpty, finding.evidence.isEmpty, finding.doubts.isEmpty {
            finding.note("\(spare.count) data files belong to no metadata: an earlier save had more ranks")
        }
    }

    private mutating func checkFiles(of metadata: DistributedMetadata, committed: Int64?) throws {
        var newer: [String] = []
        for (name, needed) in zip(metadata.files, metadata.requiredSizes) {
            let path = directory.path(name)
            guard let entry = try context.file(path) else {
                finding.accept(try context.read(path) { _ in Finding<Void>.unsupported("no regular file") }, of: path)
                continue
            }
            guard entry.size >= needed else {
                finding.tear(path, expected: "\(needed) bytes or more by the metadata", found: "\(entry.size) bytes")
                continue
            }
            if let committed, entry.modified > committed { newer.append(name) }
            let items = metadata.items(in: name)
            let layout = try context.read(path) {
                try DistributedDataFile.read($0, items: items, limits: context.options.files)
            }
            guard let layout = finding.accept(layout, of: path) else { continue }
            finding.count(layout)
            if context.isDeep { try checkContent(of: items, in: path) }
        }
        if !newer.isEmpty {
            finding.doubt(
                "\(newer.count) data files (\(newer.prefix(3).joined(separator: ", "))) are newer than the metadata that "
                    + "commits them: saved over in place, and mixed, or copied without their times")
        }
    }

    /// Every item is an archive of its own, with checksums.
    private mutating func checkContent(of items: [DistributedMetadata.Item], in path: String) throws {
        for item in items where !item.isTransformed {
            let check = try context.read(path) { source -> Finding<ZipArchive.ContentCheck> in
                guard item.range.upperBound <= source.size else { return .unsupported("the file shrank") }
                let slice = SourceSlice(source, item.range)
                switch try ZipArchive.read(slice, limits: context.options.files) {
                case .complete(let archive): return try archive.checkContent(slice, progress: context.progress)
                case .torn(let evidence): return .torn(evidence)
                case .notThisFormat(let reason), .unsupported(let reason): return .unsupported(reason)
                }
            }
            guard let check = finding.accept(check, of: path) else { continue }
            if !check.mismatching.isEmpty {
                finding.doubt("\(path): the bytes of \"\(item.name)\" do not have their recorded CRC")
            }
            if check.isWithoutChecksums { finding.note("\(path): CRC not recorded") }
        }
    }

    private mutating func checkItems(of metadata: DistributedMetadata, _ path: String) {
        let missing = metadata.missing
        for name in missing.prefix(8) {
            finding.tear(path, expected: "a place in a data file for each piece", found: "none for \(name)")
        }
        if missing.count > 8 {
            finding.tear(path, expected: "a place in a data file for each piece", found: "none for \(missing.count)")
        }
    }

    // MARK: the step

    private static let stepNames: Set<String> = [
        "step", "global_step", "train_state.step", "app.step", "iteration", "train_state",
    ]

    /// The step where an item of that name is a number: an object, or a tensor of one element.
    private func readStep() throws -> Int64? {
        for (path, item) in steps where !item.isTransformed {
            let found = try context.read(path) { source -> Finding<Int64?> in
                guard item.range.upperBound <= source.size else { return .complete(nil) }
                let slice = SourceSlice(source, item.range)
                guard let file = try TorchFile.read(slice, limits: context.options.files).value else {
                    return .complete(nil)
                }
                if let step = file.pickle.integer(file.pickle.root) ?? TorchPart.step(in: file.pickle) {
                    return .complete(step)
                }
                guard let region = file.layout.regions.first, file.layout.regions.count == 1, region.elements == 1,
                    [.i64, .i32].contains(region.dtype)
                else { return .complete(nil) }
                let bytes = try slice.bytes(region.range)
                let value = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                return .complete(Int64(exactly: value))
            }
            if let step = found.value ?? nil, step >= 0 { return step }
        }
        return nil
    }
}
