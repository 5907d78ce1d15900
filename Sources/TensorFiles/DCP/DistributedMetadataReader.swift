/// Finds the parts of a `DistributedMetadata` in the pickle that it is stored as.
///
/// The pickle names classes of `torch.distributed.checkpoint`; what has another class, or lacks a field, is refused.
struct DistributedMetadataReader {
    private let graph: PickleGraph
    private let limits: TensorFileLimits
    private static let module = "torch.distributed.checkpoint.metadata"

    init(_ graph: PickleGraph, limits: TensorFileLimits) {
        self.graph = graph
        self.limits = limits
    }

    func read() throws -> DistributedMetadata {
        let root = graph.root
        guard className(root) == "Metadata" else { throw Stop.notThisFormat("a pickle of something else") }
        guard let state = graph.pairs(graph.value("state_dict_metadata", of: root)),
            let storage = graph.pairs(graph.value("storage_data", of: root))
        else { throw Stop.unsupported("the checkpoint's metadata has no tensors or no places") }
        var tensors: [DistributedMetadata.Tensor] = []
        var objects: [String] = []
        for (key, value) in pairs(state) {
            guard let name = graph.text(key) else { throw Stop.unsupported("a tensor of the metadata has no name") }
            switch className(value) {
            case "BytesStorageMetadata": objects.append(name)
            case "TensorStorageMetadata": tensors.append(try tensor(name, value))
            default: throw Stop.unsupported("the metadata describes \"\(name)\" in an unknown way")
            }
        }
        var files: [String] = []
        var fileNumbers: [String: Int] = [:]
        var items: [DistributedMetadata.Item] = []
        for (key, value) in pairs(storage) {
            let path = graph.text(graph.value("relative_path", of: value))
            guard let path, isInside(path) else {
                throw Stop.unsupported("the metadata names a file outside the checkpoint")
            }
            if fileNumbers[path] == nil {
                fileNumbers[path] = files.count
                files.append(path)
            }
            items.append(try item(key, value, file: fileNumbers[path] ?? 0))
        }
        return DistributedMetadata(
            tensors: tensors, objects: objects, items: items, files: files,
            version: graph.text(graph.value("version", of: root)),
            saveID: graph.text(graph.value("save_id", of: graph.value("storage_meta", of: root))))
    }

    /// The class of an instance, if it is one of the module's.
    private func className(_ value: PickleValue) -> String? {
        guard let object = graph.object(value), let type = graph.global(object.callable) else { return nil }
        return type.module == Self.module ? type.name : nil
    }

    private func pairs(
        _ values: ArraySlice<PickleValue>
    ) -> some Sequence<(key: PickleValue, value: PickleValue)> {
        stride(from: values.startIndex, to: values.endIndex - 1, by: 2).lazy.map {
            (key: values[$0], value: values[$0 + 1])
        }
    }

    private func isInside(_ path: String) -> Bool {
        path.utf8.count <= limits.nameBytes && !path.utf8.contains(0)
            && path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
                !$0.isEmpty && $0 != "." && $0 != ".."
            }
    }

    private func tensor(_ name: String, _ value: PickleValue) throws -> DistributedMetadata.Tensor {
        guard let shape = graph.shape(graph.value("size", of: value)),
            let list = graph.elements(graph.value("chunks", of: value))
        else { throw Stop.unsupported("the metadata gives no shape of \"\(name)\"") }
        let chunks = try list.map { chunk in
            guard let offsets = graph.shape(graph.value("offsets", of: chunk)),
                let sizes = graph.shape(graph.value("sizes", of: chunk))
            else { throw Stop.unsupported("the metadata gives no place of a piece of \"\(name)\"") }
            return DistributedMetadata.Chunk(offsets: offsets, sizes: sizes)
        }
        return DistributedMetadata.Tensor(name: name, dtype: dtype(of: value), shape: shape, chunks: chunks)
    }

    /// The properties are an instance whose state is a tuple that begins with the type.
    private func dtype(of value: PickleValue) -> TensorDType? {
        let properties = graph.value("properties", of: value)
        let type =
            graph.value("dtype", of: properties) ?? graph.elements(graph.object(properties)?.state)?.first
        guard let global = graph.global(type), global.module == "torch" else { return nil }
        return TorchStorage.dtypes[global.name]
    }

    private func item(_ key: PickleValue, _ value: PickleValue, file: Int) throws -> DistributedMetadata.Item {
        guard className(key) == "MetadataIndex", let name = graph.text(graph.value("fqn", of: key)),
            let offset = graph.unsigned(graph.value("offset", of: value)),
            let length = graph.unsigned(graph.value("length", of: value))
        else { throw Stop.unsupported("the metadata has an entry without a name or a place") }
        let place = graph.value("offset", of: key) ?? .none
        let offsets = place == .none ? nil : graph.shape(place)
        guard place == .none || offsets != nil else {
            throw Stop.unsupported("the metadata gives no place of a piece of \"\(name)\"")
        }
        // Both are below 2^63, so the sum fits.
        return DistributedMetadata.Item(
            name: name, offsets: offsets, file: file, range: offset..<offset + length,
            isTransformed: (graph.value("transform_descriptors", of: value) ?? .none) != .none)
    }
}
