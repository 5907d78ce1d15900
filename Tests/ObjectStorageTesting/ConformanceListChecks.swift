import Basics
import ObjectStorage

extension ObjectStoreConformance {
    static let listing: [Check] = [
        Check("three thousand objects are listed once each, in pages") { subject in
            let keys = (0..<3000).map { subject.key("\($0 % 3)/\($0 * 7919 % 100_003)") }
            try await subject.putAll(keys) { [UInt8](repeating: 0, count: $0.utf8.count % 5) }
            let pages = try await subject.pages(subject.prefix)
            try subject.expect(pages.allSatisfy { $0.count <= 1000 }, "a page has over 1000 objects")
            try subject.expect(pages.count >= 3, "3000 objects came in \(pages.count) pages")
            let listed = pages.flatMap(\.self)
            try subject.expect(listed.count == 3000, "\(listed.count) of 3000 objects are listed")
            try subject.expect(Set(listed.map(\.key)) == Set(keys), "other keys are listed than were put")
            try subject.expect(listed.allSatisfy { $0.size == UInt64($0.key.utf8.count % 5) }, "a size is wrong")
            if subject.store.capabilities.listIsOrdered {
                try subject.expect(isAscending(listed), "the listing is not in byte order of the keys")
            }
            let part = try await subject.pages(subject.key("1/9")).flatMap(\.self)
            try subject.expect(
                Set(part.map(\.key)) == Set(keys.filter { $0.hasPrefix(subject.key("1/9")) }),
                "a part is listed wrongly")
        },
        Check("the order is that of the bytes, slashes included", applies: \.listIsOrdered) { subject in
            let names = [
                "a-", "a--/x", "a.", "a.b/c", "a/b", "a/b-", "a/b.c", "a/b0", "a/c/d", "a0", "aB", "a_", "aa", "Z", "_",
                "b/-",
                "b/0/a", "b/0-/a", "b/0.", "b/00",
            ]
            try await subject.putAll(names.shuffled().map(subject.key)) { _ in [1] }
            let listed = try await subject.pages(subject.prefix).flatMap(\.self)
            let expected = names.map(subject.key).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            try subject.expect(listed.map(\.key) == expected, "the order is \(listed.map(\.key))")
        },
        Check("a prefix is a beginning of names, not a folder") { subject in
            let names = ["x", "xy", "xz/a", "xz/b", "xzz", "y/x"]
            try await subject.putAll(names.map(subject.key)) { _ in [] }
            let cases = [
                "": names, "x": ["x", "xy", "xz/a", "xz/b", "xzz"], "xz": ["xz/a", "xz/b", "xzz"],
                "xz/": ["xz/a", "xz/b"],
            ]
            for (prefix, expected) in cases.merging(
                ["xz/a": ["xz/a"], "xz/a/": [], "q": [], "x/": [], "y/x/z/": []], uniquingKeysWith: { $1 })
            {
                let listed = try await subject.store.listAll(prefix: subject.key(prefix)).map(\.key)
                try subject.expect(listed == expected.map(subject.key), "beginning with \(prefix): \(listed)")
            }
        },
        Check("a page continues behind what has been removed meanwhile") { subject in
            let keys = (0..<1200).map { subject.key("n/\(10_000 + $0)") }
            try await subject.putAll(keys) { _ in [] }
            let first = try await subject.store.list(prefix: subject.prefix, token: nil)
            guard let token = first.next else { throw subject.fail("1200 objects came in one page") }
            for object in first.objects.suffix(20) { try await subject.store.delete(object.key, ifTag: nil) }
            let second = try await subject.store.list(prefix: subject.prefix, token: token)
            let seen = (first.objects + second.objects).map(\.key)
            try subject.expect(
                Set(seen) == Set(keys) && seen.count == 1200, "\(Set(seen).count) of 1200 seen, \(seen.count) listed")
        },
    ]

    static let concurrency: [Check] = [
        Check("a reader sees a whole object or none") { subject in
            let key = subject.key("torn")
            // Each body is of one byte value, and of a length that goes with it.
            @Sendable func body(_ value: UInt8) -> [UInt8] {
                [UInt8](repeating: value, count: 40_000 + 997 * Int(value))
            }
            try await subject.store.put(key, bytes: body(0))
            // Writers go on until every reader has had its turns, so reading and writing overlap however fast they are.
            let readersLeft = Counter(4)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<3 {
                    group.addTask {
                        var round = 0
                        while readersLeft.value > 0 {
                            try await subject.store.put(key, bytes: body(UInt8(writer * 12 + round % 12)))
                            round += 1
                            // A store in memory never suspends; the readers need a thread as well.
                            await Task.yield()
                        }
                    }
                }
                for _ in 0..<4 {
                    group.addTask {
                        defer { readersLeft.add(-1) }
                        for _ in 0..<30 {
                            let bytes = try await subject.store.get(key, maximumBytes: 1 << 20)
                            guard let value = bytes.first else { throw subject.fail("an empty object was read") }
                            try subject.expect(bytes == body(value), "a torn object of \(bytes.count) bytes was read")
                        }
                    }
                }
                try await group.waitForAll()
            }
        },
        Check("a cancelled task starts nothing") { subject in
            let key = subject.key("cancelled")
            try await subject.store.put(key, bytes: [1])
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.cancelAll()
                group.addTask {
                    let operations: [(String, () async throws -> Void)] = [
                        ("put", { try await subject.store.put(key, bytes: [2]) }),
                        ("get", { _ = try await subject.store.get(key, maximumBytes: 9) }),
                        ("head", { _ = try await subject.store.head(key) }),
                        ("list", { _ = try await subject.store.list(prefix: subject.prefix, token: nil) }),
                        ("delete", { try await subject.store.delete(key, ifTag: nil) }),
                        ("serverTime", { _ = try await subject.store.serverTime() }),
                    ]
                    for (name, operation) in operations {
                        try await subject.expectFailure([.cancelled], "\(name) of a cancelled task", operation)
                    }
                }
                try await group.waitForAll()
            }
            try await subject.expectContent(key, [1])
        },
        Check("cancelling a put leaves the whole object or none") { subject in
            let body = ObjectBody((0..<8).map { Buffer([UInt8](repeating: UInt8($0), count: 1 << 20)) })
            for round in 0..<8 {
                let key = subject.key("interrupted/\(round)")
                let stored = try await withThrowingTaskGroup(of: Bool.self) { group in
                    group.addTask {
                        do {
                            _ = try await subject.store.put(key, body, options: PutOptions())
                            return true
                        } catch let error as ObjectStorageError where error.code == .cancelled {
                            return false
                        }
                    }
                    for _ in 0..<round * 8 { await Task.yield() }
                    group.cancelAll()
                    return try await group.next() ?? false
                }
                let attributes = try await subject.store.listAll(prefix: key)
                if stored || !attributes.isEmpty {
                    try await subject.expectContent(key, body.pieces.flatMap { $0.array() })
                }
            }
        },
    ]

    private static func isAscending(_ objects: [ObjectAttributes]) -> Bool {
        zip(objects, objects.dropFirst()).allSatisfy { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    }
}
