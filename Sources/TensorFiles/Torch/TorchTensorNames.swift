/// Finds what the tensors of a PyTorch pickle are called: the path of keys to the first one on each storage.
///
/// Every container is entered once and to a limited depth, so that neither a pickle that contains itself nor one whose
/// parts are shared a billion times takes longer than its size says.
struct TorchTensorNames {
    /// What a tensor says of itself.
    struct Tensor {
        var name: String
        /// Nil for a bare storage.
        var shape: [UInt64]?
        /// Set where the storage's own class does not tell.
        var dtype: TensorDType?
        /// Elements of the storage up to the last one that this or another tensor uses; nil when that is beyond 2^64.
        var extent: UInt64? = 0
    }

    private static let deepest = 64

    /// A container under way: which of its values is next.
    private struct Frame {
        var values: ArraySlice<PickleValue>
        /// Where they began.
        let start: Int
        var isPairs: Bool
        var path: String
        /// The arguments of a call have no keys of their own.
        var isPlain: Bool
    }

    private let graph: PickleGraph
    private let longest: Int
    private var frames: [Frame] = []
    private var seen: Set<PickleValue> = []
    private var tensors: [String: Tensor] = [:]

    /// The tensors by the keys of their storages.
    static func find(in graph: PickleGraph, limits: TensorFileLimits) -> [String: Tensor] {
        var search = TorchTensorNames(graph: graph, longest: limits.nameBytes)
        search.visit(graph.root, path: "")
        while !search.frames.isEmpty { search.step() }
        return search.tensors
    }

    private init(graph: PickleGraph, longest: Int) {
        self.graph = graph
        self.longest = longest
    }

    private mutating func step() {
        let last = frames.count - 1
        let frame = frames[last]
        guard let first = frame.values.first else {
            frames.removeLast()
            return
        }
        if frame.isPairs {
            frames[last].values = frame.values.dropFirst(2)
            guard let value = frame.values.dropFirst().first, isWorthwhile(value) else { return }
            visit(value, path: join(frame.path, key(first)))
        } else {
            frames[last].values = frame.values.dropFirst()
            guard isWorthwhile(first) else { return }
            let index = frame.values.startIndex - frame.start
            visit(first, path: frame.isPlain ? frame.path : join(frame.path, "\(index)"))
        }
    }

    private func isWorthwhile(_ value: PickleValue) -> Bool {
        switch value {
        case .tuple, .list, .dictionary, .set, .object, .persistent: true
        case .none, .bool, .integer, .wideInteger, .float, .text, .global, .opaque: false
        }
    }

    private func key(_ value: PickleValue) -> String {
        graph.text(value) ?? graph.integer(value).map { "\($0)" } ?? "?"
    }

    private func join(_ path: String, _ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    private mutating func visit(_ value: PickleValue, path: String) {
        guard path.utf8.count <= longest else { return }
        if case .persistent = value { return claim(value, Tensor(name: path)) }
        guard frames.count < Self.deepest, seen.insert(value).inserted else { return }
        if let object = graph.object(value), visitTensor(object.callable, object.arguments, path: path) { return }
        if let pairs = graph.pairs(value) {
            push(pairs, isPairs: true, path: path)
        } else if let elements = graph.elements(value) {
            push(elements, path: path)
        }
        guard let object = graph.object(value) else { return }
        if let state = graph.pairs(object.state) {
            if seen.insert(object.state).inserted { push(state, isPairs: true, path: path) }
        } else if isWorthwhile(object.state) {
            push([object.state], path: path, isPlain: true)
        }
        // A call of one argument, as a parameter's, hands its name on.
        if let arguments = graph.elements(object.arguments) {
            push(arguments, path: path, isPlain: arguments.count(where: isWorthwhile) == 1)
        }
    }

    private mutating func push(
        _ values: ArraySlice<PickleValue>, isPairs: Bool = false, path: String, isPlain: Bool = false
    ) {
        guard frames.count < Self.deepest else { return }
        frames.append(
            Frame(values: values, start: values.startIndex, isPairs: isPairs, path: path, isPlain: isPlain))
    }

    /// Takes a call that makes a tensor of a storage: `_rebuild_tensor_v2(storage, offset, size, stride, …)` and its
    /// kin. False for any other call.
    private mutating func visitTensor(
        _ callable: PickleValue, _ arguments: PickleValue, path: String, isSubclass: Bool = false
    ) -> Bool {
        guard let function = graph.global(callable), let arguments = graph.elements(arguments),
            let first = arguments.first
        else { return false }
        let start = arguments.startIndex
        switch (function.module, function.name) {
        case ("torch._utils", "_rebuild_parameter"), ("torch._utils", "_rebuild_parameter_with_state"):
            push([first], path: path, isPlain: true)
            return true
        case ("torch._tensor", "_rebuild_from_type_v2") where arguments.count >= 3 && !isSubclass:
            return visitTensor(first, arguments[start + 2], path: path, isSubclass: true)
        case ("torch._utils", "_rebuild_tensor"), ("torch._utils", "_rebuild_tensor_v2"),
            ("torch._utils", "_rebuild_tensor_v3"), ("torch._utils", "_rebuild_qtensor"):
            guard case .persistent = first, arguments.count >= 3, let shape = graph.shape(arguments[start + 2]) else {
                return false
            }
            var tensor = Tensor(name: path, shape: shape)
            if arguments.count >= 4, let strides = graph.shape(arguments[start + 3]), strides.count == shape.count,
                let offset = graph.unsigned(arguments[start + 1])
            {
                tensor.extent = Self.extent(offset: offset, shape: shape, strides: strides)
            }
            if function.name == "_rebuild_tensor_v3", arguments.count >= 7,
                let type = graph.global(arguments[start + 6]), type.module == "torch"
            {
                tensor.dtype = TorchStorage.dtypes[type.name]
            }
            claim(first, tensor)
            return true
        default: return false
        }
    }

    private mutating func claim(_ storage: PickleValue, _ tensor: Tensor) {
        guard let parts = graph.elements(graph.persistentID(storage)), parts.count >= 3 else { return }
        let name = parts[parts.startIndex + 2]
        guard let key = graph.text(name) ?? graph.integer(name).map({ "\($0)" }) else { return }
        guard let first = tensors[key] else {
            tensors[key] = tensor
            return
        }
        tensors[key]?.extent = first.extent.flatMap { extent in tensor.extent.map { max(extent, $0) } }
    }

    /// One more than the place of a tensor's last element. An empty one uses none.
    private static func extent(offset: UInt64, shape: [UInt64], strides: [UInt64]) -> UInt64? {
        if shape.contains(0) { return 0 }
        var extent = offset.addingReportingOverflow(1)
        for (size, stride) in zip(shape, strides) {
            let length = (size - 1).multipliedReportingOverflow(by: stride)
            guard !length.overflow, !extent.overflow else { return nil }
            extent = extent.partialValue.addingReportingOverflow(length.partialValue)
        }
        return extent.overflow ? nil : extent.partialValue
    }
}

extension PickleGraph {
    /// The numbers of a tuple or list, or of a `torch.Size` made of one; nil for any other value.
    func shape(_ value: PickleValue?) -> [UInt64]? {
        var value = value
        if let object = object(value), global(object.callable) == PickleGlobal("torch", "Size") {
            value = elements(object.arguments)?.first
        }
        guard let elements = elements(value), elements.count <= 64 else { return nil }
        var sizes: [UInt64] = []
        for element in elements {
            guard let size = unsigned(element) else { return nil }
            sizes.append(size)
        }
        return sizes
    }
}
