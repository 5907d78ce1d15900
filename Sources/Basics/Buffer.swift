#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A block of memory that outlives a call: what is queued, sent or written later.
///
/// Ownership: one thread at a time fills it; from then on it is only read, by any number of threads, until the last
/// reference goes or it returns to its `BufferPool`. `@unchecked Sendable` rests on that rule.
package final class Buffer: @unchecked Sendable {
    private var base: UnsafeMutableRawPointer
    /// Bytes that fit.
    package private(set) var capacity: Int
    /// Bytes that are valid, from the start. Setting it beyond `capacity` is a programmer's error.
    package var count: Int {
        didSet { precondition(count >= 0 && count <= capacity, "count \(count) outside capacity \(capacity)") }
    }

    /// Memory for `capacity` bytes, aligned to 4096 so that it suits direct I/O and vector loads.
    package init(capacity: Int) {
        precondition(capacity >= 0)
        self.base = .allocate(byteCount: max(capacity, 1), alignment: Self.alignment)
        self.capacity = capacity
        self.count = 0
    }

    /// A buffer that holds a copy of `bytes`.
    package convenience init(copying bytes: UnsafeRawBufferPointer) {
        self.init(capacity: bytes.count)
        append(bytes)
    }

    /// A buffer that holds a copy of `bytes`.
    package convenience init(_ bytes: [UInt8]) {
        self.init(capacity: bytes.count)
        bytes.withUnsafeBytes { append($0) }
    }

    deinit { base.deallocate() }

    private static let alignment = 4096

    /// The valid bytes. Good as long as the buffer lives and `ensureCapacity` is not called.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// All the memory, valid or not; set `count` after writing into it.
    package var storage: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base, count: capacity)
    }

    /// Makes room for at least `minimum` bytes, keeping the valid ones. Only while a single owner fills it.
    package func ensureCapacity(_ minimum: Int) {
        guard minimum > capacity else { return }
        let larger = UnsafeMutableRawPointer.allocate(byteCount: minimum, alignment: Self.alignment)
        larger.copyMemory(from: base, byteCount: count)
        base.deallocate()
        base = larger
        capacity = minimum
    }

    /// Copies `more` behind the valid bytes, growing when it must. Only while a single owner fills it.
    package func append(_ more: UnsafeRawBufferPointer) {
        guard let source = more.baseAddress, !more.isEmpty else { return }
        let needed = count + more.count
        if needed > capacity { ensureCapacity(max(needed, capacity * 2)) }
        (base + count).copyMemory(from: source, byteCount: needed - count)
        count = needed
    }

    /// A copy of the valid bytes.
    package func array() -> [UInt8] { Array(bytes) }
}
