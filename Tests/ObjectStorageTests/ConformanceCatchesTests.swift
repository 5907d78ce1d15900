import Basics
import ObjectStorage
import ObjectStorageTesting
import Testing

/// The suite itself under test: a store that breaks one guarantee fails the check that is there for it.
@Suite("The conformance suite catches")
struct ConformanceCatchesTests {
    private func check(_ name: String) throws -> ObjectStoreConformance.Check {
        try #require(ObjectStoreConformance.checks.first { $0.name == name }, "no check is called \(name)")
    }

    @Test(
        "lies about conditions and order",
        arguments: [
            ("create-if-absent refuses what exists", Lie.create),
            ("of sixteen that create at once exactly one succeeds", .create),
            ("replace-if-tag refuses another tag", .replace), ("compare-and-swap loses no update", .replace),
            ("delete-if-tag spares what was put anew", .delete),
            ("the order is that of the bytes, slashes included", .order),
            ("three thousand objects are listed once each, in pages", .order),
        ])
    func lies(name: String, lie: Lie) async throws {
        var behaviour = MemoryObjectStore.Behaviour()
        behaviour[keyPath: lie.behaviour] = true
        let store = MemoryObjectStore(behaviour: behaviour)
        await #expect(throws: ConformanceFailure.self) { try await check(name).run(on: store) }
    }

    @Test(
        "lost, garbled and mislabelled objects",
        arguments: [
            ("what is not there is not found", .get, .fail(.accessDenied)),
            ("an empty object is an object", .put, .pretend),
            ("ranges yield their bytes and no others", .get, .corrupt),
            ("ranges yield their bytes and no others", .get, .truncate),
            ("an object larger than the caller takes is refused", .get, .fail(.failed)),
            ("get, head and list agree, and the dates are the store's", .put, .pretend),
            ("a body in many pieces is stored as one", .put, .truncate),
            ("a body of 20 MiB comes back the same", .put, .corrupt),
            ("put replaces, and the tag changes", .put, .pretend),
            ("delete removes, once and for all", .delete, .pretend),
            ("compare-and-swap loses no update", .put, .pretend),
            ("a prefix is a beginning of names, not a folder", .put, .pretend),
            ("a reader sees a whole object or none", .get, .truncate),
            ("a cancelled task starts nothing", .get, .corrupt),
        ] as [(String, StoreRequest.Operation, FaultyObjectStore.Fault)])
    func faults(name: String, operation: StoreRequest.Operation, fault: FaultyObjectStore.Fault) async throws {
        let store = FaultyObjectStore(MemoryObjectStore())
        store.inject(fault, on: operation, times: 3)
        await #expect(throws: (any Error).self) { try await check(name).run(on: store) }
    }

    @Test("stores that take any name, ignore bounds or go on after cancellation", arguments: Carelessness.allCases)
    func carelessness(kind: Carelessness) async throws {
        let store = CarelessStore(kind: kind)
        await #expect(throws: (any Error).self) { try await check(kind.caughtBy).run(on: store) }
    }
}

/// Ways of a store to be wrong that no fault of `FaultyObjectStore` shows.
enum Carelessness: CaseIterable {
    case takesAnyName, ignoresMaximum, clampsRanges, constantTag, foldersAreObjects, ignoresCancellation, tornReads
    case listsFoldersOnly, shortListing, wrongDates

    var caughtBy: String {
        switch self {
        case .takesAnyName: "names outside the rule are refused everywhere"
        case .ignoresMaximum: "an object larger than the caller takes is refused"
        case .clampsRanges: "ranges yield their bytes and no others"
        case .constantTag: "put replaces, and the tag changes"
        case .foldersAreObjects: "what is not there is not found"
        case .ignoresCancellation: "a cancelled task starts nothing"
        case .tornReads: "a reader sees a whole object or none"
        case .listsFoldersOnly: "a prefix is a beginning of names, not a folder"
        case .shortListing: "a page continues behind what has been removed meanwhile"
        case .wrongDates: "get, head and list agree, and the dates are the store's"
        }
    }
}

/// A memory store with one carelessness in front.
struct CarelessStore: ForwardingObjectStore {
    let memory = MemoryObjectStore()
    let kind: Carelessness
    var base: any ObjectStore { memory }

    func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        if kind == .takesAnyName && key == "a b" { return PutReceipt(tag: "1", date: try await memory.serverTime()) }
        var receipt = try await uncancelled { () throws(ObjectStorageError) in
            try await memory.put(key, body, options: options)
        }
        if kind == .constantTag { receipt.tag = "same" }
        return receipt
    }

    func get(
        _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> ObjectAttributes {
        var range = range
        if kind == .clampsRanges, let wanted = range, wanted.lowerBound >= 100_000 { range = 99_999..<100_000 }
        let bound = kind == .ignoresMaximum ? .max : maximumBytes
        let attributes = try await memory.get(key, range: range, into: buffer, maximumBytes: bound)
        if kind == .tornReads, buffer.count > 40_000 { buffer.storage[buffer.count - 1] ^= 1 }
        return attributes
    }

    func head(_ key: String) async throws(ObjectStorageError) -> ObjectAttributes {
        if kind == .foldersAreObjects, let first = try await memory.listAll(prefix: key + "/").first {
            return ObjectAttributes(key: key, size: 0, tag: "", modified: first.modified)
        }
        var attributes = try await memory.head(key)
        if kind == .wrongDates { attributes.modified = attributes.modified.advanced(bySeconds: 60) }
        return attributes
    }

    func list(prefix: String, token: String?) async throws(ObjectStorageError) -> ObjectPage {
        var page = try await memory.list(prefix: prefix, token: token)
        if kind == .listsFoldersOnly && !prefix.hasSuffix("/") { page.objects = [] }
        if kind == .shortListing && token != nil { page.objects = page.objects.dropLast() }
        return page
    }

    private func uncancelled<R: Sendable>(
        _ body: @escaping @Sendable () async throws(ObjectStorageError) -> R
    ) async throws(ObjectStorageError) -> R {
        guard kind == .ignoresCancellation else { return try await body() }
        let result = await Task {
            do throws(ObjectStorageError) { return Result<R, ObjectStorageError>.success(try await body()) } catch {
                return .failure(error)
            }
        }.value
        return try result.get()
    }
}
