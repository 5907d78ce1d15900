/// What `torch.save` writes: a zip archive with a pickle of everything but the numbers, and a member for each storage.
package struct TorchFile: Sendable {
    /// Where the storages lie, each under the name of its first tensor.
    package let layout: TensorLayout
    /// All else that was saved: the step, the names, the shapes.
    package let pickle: PickleGraph
    /// The archive, for a check of its content; nil for the form that PyTorch wrote before version 1.6.
    package let archive: ZipArchive?

    /// The file in `source`, in the form of today or of before 1.6. Throws only what `source` throws.
    ///
    /// Complete when the archive is, and holds the pickle and every storage that the pickle refers to, each in the size
    /// that the pickle gives.
    package static func read(
        _ source: any TensorByteSource, limits: TensorFileLimits = TensorFileLimits()
    ) throws -> Finding<TorchFile> {
        try Finding {
            if try source.prefix(TorchLegacyFile.magic.count) == TorchLegacyFile.magic {
                return try TorchLegacyFile.parse(source, limits)
            }
            return try parse(source, limits)
        }
    }

    /// The versions of the archive's own form that PyTorch reads.
    private static let versions = 1...10

    static func parse(_ source: any TensorByteSource, _ limits: TensorFileLimits) throws -> TorchFile {
        let archive: ZipArchive
        do {
            archive = try ZipArchive.parse(source, limits)
        } catch Stop.torn(let evidence) {
            return try torn(source, evidence)
        }
        return try parse(archive, source, limits)
    }

    /// Throws the evidence against an archive without a usable directory, if PyTorch wrote it: only the first member's
    /// name tells.
    static func torn<Value>(_ source: any TensorByteSource, _ evidence: TornEvidence) throws -> Value {
        guard try beginsLikeTorch(source) else {
            throw Stop.notThisFormat("a zip archive of something else, and not a whole one: \(evidence.message)")
        }
        throw Stop.torn(evidence)
    }

    /// Whether the first member is one that PyTorch writes first. A file cut off inside its name begins like one.
    private static func beginsLikeTorch(_ source: any TensorByteSource) throws -> Bool {
        guard let name = try ZipArchive.firstName(source) else { return true }
        return ["data.pkl", "byteorder", "version"].contains { name.hasSuffix("/\($0)") }
    }

    static func parse(
        _ archive: ZipArchive, _ source: any TensorByteSource, _ limits: TensorFileLimits
    ) throws -> TorchFile {
        // All members share a directory, which PyTorch takes from the first of them.
        guard let first = archive.members.first, let slash = first.name.firstIndex(of: "/"),
            let pickleMember = archive.member(named: first.name[..<slash] + "/data.pkl")
        else { throw Stop.notThisFormat("a zip archive without data.pkl") }
        let directory = String(first.name[..<slash])
        var attributes: [String: String] = [:]
        attributes["version"] = try version(archive, directory, source)
        attributes["byteorder"] = try byteOrder(archive, directory, source)
        guard pickleMember.isStored else { throw Stop.unsupported("data.pkl is compressed") }
        var cursor = SourceCursor(source, pickleMember.range, ending: .announced, structure: "data.pkl")
        let graph = try PickleReader.read(&cursor, limits: limits.pickle)
        let names = TorchTensorNames.find(in: graph, limits: limits)
        var regions: [TensorLayout.Region] = []
        for storage in try TorchStorage.all(in: graph, limits: limits) {
            guard let member = archive.member(named: "\(directory)/data/\(storage.key)") else {
                throw Stop.missing("data.pkl refers to the storage \(storage.key), which is not in the archive")
            }
            guard member.isStored else { throw Stop.unsupported("the storage \(storage.key) is compressed") }
            guard member.range.upperBound - member.range.lowerBound == storage.byteCount else {
                throw Stop.damaged(
                    "the storage \(storage.key) has \(member.range.upperBound - member.range.lowerBound) bytes, "
                        + "data.pkl says \(storage.byteCount)")
            }
            regions.append(try storage.region(names[storage.key], range: member.range))
        }
        let layout = try TensorLayout(format: .torch, size: source.size, regions: regions, attributes: attributes)
        return TorchFile(layout: layout, pickle: graph, archive: archive)
    }

    private static func version(
        _ archive: ZipArchive, _ directory: String, _ source: any TensorByteSource
    ) throws -> String {
        guard
            let member = archive.member(named: "\(directory)/version")
                ?? archive.member(named: "\(directory)/.data/version")
        else {
            // Without it PyTorch does not load the file, but neither has it written it.
            throw Stop.unsupported("the archive has a data.pkl but no version")
        }
        guard let text = try text(member, source), let version = Int(text), versions.contains(version) else {
            throw Stop.unsupported("the archive is of a version that is not known")
        }
        return text
    }

    private static func byteOrder(
        _ archive: ZipArchive, _ directory: String, _ source: any TensorByteSource
    ) throws -> String? {
        guard let member = archive.member(named: "\(directory)/byteorder") else { return nil }
        guard let text = try text(member, source), ["little", "big"].contains(text) else {
            throw Stop.unsupported("the archive is of a byte order that is not known")
        }
        return text
    }

    /// The text of a small member without white space around it.
    private static func text(_ member: ZipArchive.Member, _ source: any TensorByteSource) throws -> String? {
        let count = member.range.upperBound - member.range.lowerBound
        guard member.isStored, count <= 64 else { return nil }
        let bytes = try source.bytes(at: member.range.lowerBound, count: Int(count))
        return String(decoding: bytes.drop { $0 <= 0x20 }.reversed().drop { $0 <= 0x20 }.reversed(), as: UTF8.self)
    }
}

extension TorchStorage {
    /// The storage's place, under the name and with the shape of its first tensor. The shape is a plain count where that
    /// tensor is not all of the storage. Throws `Stop` when a tensor uses more than the storage has.
    func region(_ tensor: TorchTensorNames.Tensor?, range: Range<UInt64>) throws -> TensorLayout.Region {
        let dtype = tensor?.dtype ?? dtype
        let count = byteCount / UInt64(max(dtype.bits / 8, 1))
        if let tensor {
            guard let extent = tensor.extent, extent <= count else {
                throw Stop.damaged("the tensor \"\(tensor.name)\" is larger than its storage")
            }
        }
        let shape = tensor?.shape.flatMap { TensorDType.elements(of: $0) == count ? $0 : nil } ?? [count]
        return TensorLayout.Region(
            name: tensor?.name ?? "storage \(key)", dtype: dtype, shape: shape, range: range)
    }
}
