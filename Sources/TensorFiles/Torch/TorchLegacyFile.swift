/// What `torch.save` wrote before version 1.6 and still writes when asked: five pickles, and the storages' bytes.
///
/// The pickles are a magic number, a protocol version, facts about the machine, the object, and the storages' keys. Then
/// come the storages in the order of the keys, each behind its count. Nothing marks the end, so what stands behind the
/// last storage does not matter to a loader.
enum TorchLegacyFile {
    /// The magic number's pickle.
    static let magic: [UInt8] = [
        0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e,
    ]

    static func parse(_ source: any TensorByteSource, _ limits: TensorFileLimits) throws -> TorchFile {
        var cursor = SourceCursor(
            source, 0..<source.size, ending: .endOfFile, structure: "the legacy torch file")
        try cursor.skip(UInt64(magic.count))
        let version = try PickleReader.read(&cursor, limits: limits.pickle)
        guard version.integer(version.root) == 1001 else {
            throw Stop.unsupported("a legacy torch file of another protocol than 1001")
        }
        let machine = try PickleReader.read(&cursor, limits: limits.pickle)
        guard machine.value("little_endian", of: machine.root) == .bool(true) else {
            throw Stop.unsupported("a legacy torch file with the most significant byte first")
        }
        let graph = try PickleReader.read(&cursor, limits: limits.pickle)
        let keyGraph = try PickleReader.read(&cursor, limits: limits.pickle)
        guard let keys = keyGraph.elements(keyGraph.root) else {
            throw Stop.damaged("the legacy torch file has no list of storages")
        }
        let storages = try TorchStorage.all(in: graph, limits: limits)
        var byKey = Dictionary(uniqueKeysWithValues: storages.map { ($0.key, $0) })
        let names = TorchTensorNames.find(in: graph, limits: limits)
        var regions: [TensorLayout.Region] = []
        for element in keys {
            guard let key = keyGraph.text(element) ?? keyGraph.integer(element).map({ "\($0)" }),
                let storage = byKey.removeValue(forKey: key)
            else { throw Stop.damaged("the legacy torch file lists a storage twice, or one that its object has not") }
            let place = try dataPlace(of: storage, &cursor)
            regions.append(try storage.region(names[key], range: place))
        }
        guard byKey.isEmpty else {
            throw Stop.missing("the legacy torch file does not list all storages of its object")
        }
        let layout = try TensorLayout(format: .torchLegacy, size: source.size, regions: regions)
        return TorchFile(layout: layout, pickle: graph, archive: nil)
    }

    private static func dataPlace(
        of storage: TorchStorage, _ cursor: inout SourceCursor
    ) throws -> Range<UInt64> {
        let count = try cursor.read(UInt64.self)
        guard count == storage.count else {
            throw Stop.damaged("the storage \(storage.key) has \(count) elements, the object says \(storage.count)")
        }
        let start = cursor.offset
        guard storage.byteCount <= cursor.remaining else {
            let (end, overflow) = start.addingReportingOverflow(storage.byteCount)
            throw Stop.truncated(
                "the storage \(storage.key) ends beyond the file's \(cursor.end) bytes",
                expectedSize: overflow ? nil : end)
        }
        try cursor.skip(storage.byteCount)
        return start..<start + storage.byteCount
    }
}
