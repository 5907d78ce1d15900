internal import Basics

/// The single questions of a `CapabilityProbe`, each with keys of its own.
struct ProbeSession: Sendable {
    let store: any ObjectStore
    /// Ends in a slash.
    let prefix: String

    private typealias Finding = CapabilityProbe.Finding

    /// Whether what was put can be read at once, and what was deleted is gone at once.
    func readAfterWrite() async throws(ObjectStorageError) -> [CapabilityProbe.Finding] {
        let key = prefix + "read"
        var findings: [Finding] = []
        for bytes in [[1, 2, 3], [], [4, 5]] as [[UInt8]] {
            try await store.put(key, bytes: bytes)
            let found = try await unlessNotFound { () throws(ObjectStorageError) in
                try await store.get(key, maximumBytes: 1 << 10)
            }
            let size = try await unlessNotFound { () throws(ObjectStorageError) in try await store.head(key).size }
            if found != bytes || size != UInt64(bytes.count) {
                findings.append(.broken("the store does not give back what was just put: backups could be lost"))
                break
            }
        }
        try await store.delete(key, ifTag: nil)
        if try await exists(key) {
            findings.append(
                .broken("the store still shows what was just deleted: a prune could not trust what it sees"))
        }
        return findings
    }

    /// Whether parts of an object can be read.
    func ranges() async throws(ObjectStorageError) -> [CapabilityProbe.Finding] {
        let key = prefix + "range"
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0) }
        try await store.put(key, bytes: bytes)
        let buffer = Buffer(capacity: 1000)
        for range in [0..<1, 500..<700, 990..<2000] as [Range<UInt64>] {
            _ = try await store.get(key, range: range, into: buffer, maximumBytes: 1000)
            if buffer.array() != Array(bytes[Int(range.lowerBound)..<min(1000, Int(range.upperBound))]) {
                return [
                    .broken("the store gives other bytes than the range that was asked for: nothing could be restored")
                ]
            }
        }
        return []
    }

    /// Whether the tag changes with the bytes.
    func tags() async throws(ObjectStorageError) -> [CapabilityProbe.Finding] {
        let (stale, current) = try await twoTags(prefix + "tag")
        let isTold = try await store.head(prefix + "tag").tag == current
        if stale != current && isTold { return [] }
        return [
            .broken("the store's tags (ETag) do not tell one object from the next: a prune could delete what is in use")
        ]
    }

    /// Whether the second of two creations is refused and changes nothing.
    func refusesToCreateTwice() async throws(ObjectStorageError) -> Bool {
        let key = prefix + "create"
        let options = PutOptions(condition: .ifAbsent)
        guard
            try await isAccepted({ () throws(ObjectStorageError) in
                try await store.put(key, bytes: [1], options: options)
            })
        else { return false }
        if try await isAccepted({ () throws(ObjectStorageError) in
            try await store.put(key, bytes: [2], options: options)
        }) {
            return false
        }
        return try await store.get(key, maximumBytes: 1 << 10) == [1]
    }

    /// Whether a replacement with a stale tag is refused, and one with the present tag is not.
    func refusesToReplaceOther() async throws(ObjectStorageError) -> Bool {
        let key = prefix + "replace"
        let (stale, current) = try await twoTags(key)
        if try await isAccepted({ () throws(ObjectStorageError) in
            try await store.put(key, bytes: [3], options: PutOptions(condition: .ifTag(stale)))
        }) {
            return false
        }
        guard
            try await isAccepted({ () throws(ObjectStorageError) in
                try await store.put(key, bytes: [4], options: PutOptions(condition: .ifTag(current)))
            })
        else { return false }
        return try await store.get(key, maximumBytes: 1 << 10) == [4]
    }

    /// Whether a deletion with a stale tag is refused, and one with the present tag is not.
    func refusesToDeleteOther() async throws(ObjectStorageError) -> Bool {
        let key = prefix + "delete"
        let (stale, current) = try await twoTags(key)
        if try await isAccepted({ () throws(ObjectStorageError) in try await store.delete(key, ifTag: stale) }) {
            return false
        }
        guard try await exists(key),
            try await isAccepted({ () throws(ObjectStorageError) in try await store.delete(key, ifTag: current) })
        else { return false }
        return try await !exists(key)
    }

    /// Whether a listing shows all that was put before it, and in byte order.
    func listing() async throws(ObjectStorageError) -> (isComplete: Bool, isOrdered: Bool) {
        let folder = prefix + "list/"
        // Put in another order than any usual one; where '/' sorts matters, between '.' and '0'.
        let names = ["b", "a0", "a/x", "a-", "c", "a/b", "a.", "aa"].map { folder + $0 }
        for name in names { try await store.put(name, bytes: []) }
        var listed: [String] = []
        var token: String?
        repeat {
            let page = try await store.list(prefix: folder, token: token)
            listed += page.objects.map(\.key)
            token = page.next
        } while token != nil && listed.count <= names.count
        let sorted = names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let isComplete = listed.count == names.count && Set(listed) == Set(names)
        return (isComplete, isComplete && listed == sorted)
    }

    /// Removes what the probe made, and what lies below `all` since before so many seconds.
    func removeAll(alsoOlderThan seconds: Double, below all: String) async throws(ObjectStorageError) {
        let now = try await store.serverTime()
        for object in try await store.listAll(prefix: all)
        where object.key.hasPrefix(prefix) || now - object.modified > seconds {
            try await store.delete(object.key, ifTag: nil)
        }
    }

    private func twoTags(_ key: String) async throws(ObjectStorageError) -> (stale: String, current: String) {
        let stale = try await store.put(key, bytes: [1]).tag
        return (stale, try await store.put(key, bytes: [2]).tag)
    }

    private func exists(_ key: String) async throws(ObjectStorageError) -> Bool {
        try await unlessNotFound { () throws(ObjectStorageError) in try await store.head(key) } != nil
    }

    private func unlessNotFound<R>(
        _ body: () async throws(ObjectStorageError) -> R
    ) async throws(ObjectStorageError) -> R? {
        do throws(ObjectStorageError) {
            return try await body()
        } catch {
            if error.code == .notFound { return nil }
            throw error
        }
    }

    /// False when the store refuses because of the condition, or knows no conditions.
    private func isAccepted<R>(_ body: () async throws(ObjectStorageError) -> R) async throws(ObjectStorageError)
        -> Bool
    {
        do throws(ObjectStorageError) {
            _ = try await body()
            return true
        } catch {
            switch error.code {
            case .preconditionFailed, .conflict, .notFound, .unsupported: return false
            default: throw error
            }
        }
    }
}
