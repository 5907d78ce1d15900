/// A value in a `PickleGraph`. Inert: a call that a pickle asks for is an `object` that names the callable.
///
/// Most are numbers into the graph, which tells what they stand for. So a pickle that contains itself is no trouble to
/// hold or to free, and a value takes eight bytes: the metadata of a large checkpoint has millions.
package enum PickleValue: Hashable, Sendable {
    case none
    case bool(Bool)
    case integer(Int32)
    /// A whole number that fits 64 bits and not 32; a larger one is `opaque`.
    case wideInteger(Int32)
    case float(Int32)
    case text(Int32)
    case tuple(Int32)
    case list(Int32)
    case dictionary(Int32)
    case set(Int32)
    /// A class or function, by name alone.
    case global(Int32)
    /// What calling something, or making an instance of it, would give.
    case object(Int32)
    /// What the pickle leaves to whoever loads it, such as a storage of PyTorch.
    case persistent(Int32)
    /// Bytes, a very long text, a very large number, or a buffer out of band: known to be there, not kept.
    case opaque
}

/// A class or function that a pickle names: `torch._utils`, `_rebuild_tensor_v2`.
package struct PickleGlobal: Hashable, Sendable {
    package let module: String
    package let name: String

    package init(_ module: String, _ name: String) {
        self.module = module
        self.name = name
    }
}
