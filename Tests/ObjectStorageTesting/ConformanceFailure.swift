/// A guarantee of `ObjectStore` that a store does not keep.
package struct ConformanceFailure: Error, CustomStringConvertible {
    /// What was done, what was expected and what came instead.
    package let description: String

    /// A failure with these words.
    package init(_ description: String) { self.description = description }
}
