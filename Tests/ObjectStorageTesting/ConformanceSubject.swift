import Basics
import ObjectStorage

/// The store under a check, with keys of the check's own, and the questions that checks ask.
struct ConformanceSubject: Sendable {
    let store: any ObjectStore
    /// Ends in a slash.
    let prefix: String
    let name: String

    func key(_ suffix: String) -> String { prefix + suffix }

    func fail(_ message: String) -> ConformanceFailure { ConformanceFailure("\(name): \(message)") }

    func expect(_ condition: Bool, _ message: @autoclosure () -> String) throws {
        if !condition { throw fail(message()) }
    }

    /// Throws unless `operation` fails with one of `codes`.
    func expectFailure(
        _ codes: Set<ObjectStorageError.Code>, _ what: String, _ operation: () async throws -> Void
    ) async throws {
        do {
            try await operation()
        } catch let error as ObjectStorageError {
            try expect(codes.contains(error.code), "\(what) failed with \(error.code) (\(error)), expected \(codes)")
            try expect(!error.message.contains("\n") && !error.message.isEmpty, "\(what): the error is no single line")
            return
        }
        throw fail("\(what) succeeded, expected \(codes)")
    }

    /// Throws unless the object holds exactly `bytes`.
    func expectContent(_ key: String, _ bytes: [UInt8]) async throws {
        let found = try await store.get(key, maximumBytes: max(bytes.count * 2, 1 << 16))
        try expect(found == bytes, "\(key) holds \(found.count) bytes that are not the \(bytes.count) put")
    }

    /// Throws unless there is no object.
    func expectAbsent(_ key: String) async throws {
        try await expectFailure([.notFound], "head of \(key), which must be absent,") { _ = try await store.head(key) }
    }

    /// Puts objects at once, sixteen at a time.
    func putAll(_ keys: [String], _ bytes: @Sendable @escaping (String) -> [UInt8]) async throws {
        try await inParallel(keys) { try await store.put($0, bytes: bytes($0)) }
    }

    /// Runs `body` for each element, sixteen at a time.
    func inParallel<Element: Sendable>(
        _ elements: [Element], _ body: @Sendable @escaping (Element) async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, element) in elements.enumerated() {
                if index >= 16 { try await group.next() }
                group.addTask { try await body(element) }
            }
            try await group.waitForAll()
        }
    }

    /// The listing, page by page, in the store's own order.
    func pages(_ prefix: String) async throws -> [[ObjectAttributes]] {
        var pages: [[ObjectAttributes]] = []
        var token: String?
        repeat {
            let page = try await store.list(prefix: prefix, token: token)
            pages.append(page.objects)
            token = page.next
            try expect(pages.count <= 10_000, "the listing of \(prefix) does not end")
        } while token != nil
        return pages
    }

    /// Removes what the check made, except what is under retention.
    func removeAll() async throws {
        let store = store
        try await inParallel(try await store.listAll(prefix: prefix)) { object in
            do throws(ObjectStorageError) {
                try await store.delete(object.key, ifTag: nil)
            } catch  where error.code != .locked {
                throw error
            } catch {}
        }
    }
}
