package import ObjectStorage

/// The guarantees that `ObjectStore` states, as checks to run against any store; a new store passes them all.
///
/// Each check works below a prefix of its own, so that checks may run side by side in one store, and removes what it
/// made. In a test:
///
///     @Test(arguments: ObjectStoreConformance.checks)
///     func conforms(check: ObjectStoreConformance.Check) async throws { try await check.run(on: store) }
package enum ObjectStoreConformance {
    /// One guarantee.
    package struct Check: Sendable, CustomStringConvertible {
        /// The guarantee in words.
        package let name: String
        /// Whether a store with these capabilities gives the guarantee at all.
        package let applies: @Sendable (StoreCapabilities) -> Bool
        let body: @Sendable (ConformanceSubject) async throws -> Void

        init(
            _ name: String, applies: @escaping @Sendable (StoreCapabilities) -> Bool = { _ in true },
            _ body: @escaping @Sendable (ConformanceSubject) async throws -> Void
        ) {
            self.name = name
            self.applies = applies
            self.body = body
        }

        package var description: String { name }

        /// Tries the guarantee below `prefix` (empty, or ending in a slash); nothing happens when it does not apply.
        ///
        /// Throws `ConformanceFailure` where the store breaks it, `ObjectStorageError` where it fails unexpectedly.
        package func run(on store: any ObjectStore, prefix: String = "conformance/") async throws {
            guard applies(store.capabilities) else { return }
            var random = SystemRandomNumberGenerator()
            let subject = ConformanceSubject(
                store: store, prefix: prefix + String(random.next() as UInt64, radix: 16) + "/", name: name)
            let result: Result<Void, any Error>
            do {
                result = .success(try await body(subject))
            } catch {
                result = .failure(error)
            }
            // A broken store may fail here as well; what the check found says more.
            do {
                try await subject.removeAll()
            } catch {
                try result.get()
                throw error
            }
            try result.get()
        }
    }

    /// Every check.
    package static let checks: [Check] = reading + writing + conditions + listing + concurrency
}
