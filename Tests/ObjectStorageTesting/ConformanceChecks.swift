import Basics
import ObjectStorage

extension ObjectStoreConformance {
    static let reading: [Check] = [
        Check("what is not there is not found") { subject in
            let key = subject.key("nothing/here")
            try await subject.expectFailure([.notFound], "get") {
                _ = try await subject.store.get(key, maximumBytes: 10)
            }
            try await subject.expectFailure([.notFound], "ranged get") {
                _ = try await subject.store.get(key, range: 0..<1, into: Buffer(capacity: 1), maximumBytes: 1)
            }
            try await subject.expectAbsent(key)
            try await subject.store.delete(key, ifTag: nil)
            try await subject.store.put(subject.key("nothing/here-too"), bytes: [1])
            try await subject.expectAbsent(key)
            try await subject.expectAbsent(subject.key("nothing"))
            try await subject.expectAbsent(subject.key("nothing/here-too/below"))
        },
        Check("an empty object is an object") { subject in
            let key = subject.key("empty")
            for body in [ObjectBody([]), ObjectBody([Buffer(capacity: 8)])] {
                _ = try await subject.store.put(key, body, options: PutOptions())
                try await subject.expectContent(key, [])
                try subject.expect(try await subject.store.head(key).size == 0, "head gives a size other than 0")
                try subject.expect(
                    try await subject.store.listAll(prefix: key).map(\.size) == [0], "list shows it wrongly")
                try await subject.expectFailure([.invalidArgument], "bytes 0..<1 of nothing") {
                    _ = try await subject.store.get(key, range: 0..<1, into: Buffer(capacity: 1), maximumBytes: 1)
                }
            }
        },
        Check("ranges yield their bytes and no others") { subject in
            let key = subject.key("ranged")
            let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 131 >> 3) }
            try await subject.store.put(key, bytes: bytes)
            let buffer = Buffer([9, 9, 9])
            let ranges: [Range<UInt64>] = [
                0..<1, 0..<100_000, 1..<99_999, 99_999..<100_000, 99_990..<200_000, 4096..<8192,
            ]
            for range in ranges + [50_000..<UInt64(Int64.max), 99_999..<UInt64.max] {
                let attributes = try await subject.store.get(key, range: range, into: buffer, maximumBytes: 1 << 20)
                let end = Int(min(range.upperBound, 100_000))
                try subject.expect(
                    buffer.array() == Array(bytes[Int(range.lowerBound)..<end]), "\(range) yields other bytes")
                try subject.expect(
                    attributes.size == 100_000, "a ranged get gives \(attributes.size) as the object's size")
            }
            for range in [100_000..<100_001, 200_000..<300_000, 5..<5, UInt64.max - 1..<UInt64.max] as [Range<UInt64>] {
                try await subject.expectFailure([.invalidArgument], "bytes \(range) of 100000") {
                    _ = try await subject.store.get(key, range: range, into: buffer, maximumBytes: 1 << 20)
                }
            }
        },
        Check("an object larger than the caller takes is refused") { subject in
            let key = subject.key("large")
            try await subject.store.put(key, bytes: [UInt8](repeating: 7, count: 5000))
            let buffer = Buffer(capacity: 16)
            try await subject.expectFailure([.tooLarge], "get with 4999 bytes allowed") {
                _ = try await subject.store.get(key, range: nil, into: buffer, maximumBytes: 4999)
            }
            try await subject.expectFailure([.tooLarge], "ranged get with too few bytes allowed") {
                _ = try await subject.store.get(key, range: 0..<101, into: buffer, maximumBytes: 100)
            }
            try subject.expect(buffer.capacity < 5000, "the buffer grew beyond what was allowed")
            _ = try await subject.store.get(key, range: nil, into: buffer, maximumBytes: 5000)
            try subject.expect(buffer.count == 5000, "get with exactly enough allowed yields \(buffer.count) bytes")
            _ = try await subject.store.get(key, range: 4900..<9000, into: buffer, maximumBytes: 100)
            try subject.expect(buffer.count == 100, "the last 100 bytes are \(buffer.count)")
        },
        Check("get, head and list agree, and the dates are the store's") { subject in
            let key = subject.key("attributes")
            let before = try await subject.store.serverTime()
            let receipt = try await subject.store.put(key, bytes: [1, 2, 3])
            let buffer = Buffer(capacity: 3)
            let got = try await subject.store.get(key, range: nil, into: buffer, maximumBytes: 3)
            let headed = try await subject.store.head(key)
            guard let listed = try await subject.store.listAll(prefix: key).first else {
                throw subject.fail("not listed")
            }
            let after = try await subject.store.serverTime()
            for attributes in [got, headed, listed] {
                try subject.expect(attributes.key == key && attributes.size == 3, "wrong key or size in \(attributes)")
                try subject.expect(attributes.tag == receipt.tag, "tag \(attributes.tag) where put gave \(receipt.tag)")
                // Whole seconds, because HTTP dates have no finer ones.
                try subject.expect(
                    attributes.modified.seconds >= before.seconds - 1
                        && attributes.modified.seconds <= after.seconds + 1,
                    "modified is \(attributes.modified), outside the store's \(before) to \(after)")
            }
            for date in [receipt.date] + [got.date, headed.date].compactMap({ $0 }) {
                try subject.expect(
                    date.seconds >= before.seconds - 1 && date.seconds <= after.seconds + 1,
                    "an answer's date is \(date), outside the store's \(before) to \(after)")
            }
        },
    ]

    static let writing: [Check] = [
        Check("a body in many pieces is stored as one") { subject in
            let key = subject.key("pieces")
            var random = SeededGenerator(seed: 17)
            var whole: [UInt8] = []
            var pieces: [Buffer] = []
            for index in 0..<3000 {
                let piece = random.bytes(index % 7 == 0 ? 0 : (index * 37) % 1999)
                let buffer = Buffer(capacity: piece.count + 100)
                piece.withUnsafeBytes { buffer.append($0) }
                pieces.append(buffer)
                whole += piece
            }
            _ = try await subject.store.put(key, ObjectBody(pieces), options: PutOptions())
            try await subject.expectContent(key, whole)
        },
        Check("a body of 20 MiB comes back the same") { subject in
            let key = subject.key("big")
            var random = SeededGenerator(seed: 18)
            let piece = Buffer(random.bytes((5 << 20) + 1))
            _ = try await subject.store.put(key, ObjectBody([piece, piece, piece, piece]), options: PutOptions())
            let buffer = Buffer(capacity: 0)
            _ = try await subject.store.get(key, range: nil, into: buffer, maximumBytes: 32 << 20)
            let bytes = piece.array()
            try subject.expect(buffer.array() == bytes + bytes + bytes + bytes, "the bytes differ")
        },
        Check("put replaces, and the tag changes") { subject in
            let key = subject.key("replaced")
            var tags: Set<String> = []
            for round in 0..<20 {
                let bytes = [UInt8(round), UInt8(round * 7 % 11)]
                let receipt = try await subject.store.put(key, bytes: bytes)
                try await subject.expectContent(key, bytes)
                try subject.expect(!receipt.tag.isEmpty, "the tag is empty")
                try subject.expect(
                    tags.insert(receipt.tag).inserted, "put number \(round) gave a tag that was there before")
                try subject.expect(
                    try await subject.store.head(key).tag == receipt.tag, "head gives another tag than put")
            }
        },
        Check("delete removes, once and for all") { subject in
            let key = subject.key("deleted/object")
            let receipt = try await subject.store.put(key, bytes: [1])
            try await subject.store.delete(key, ifTag: nil)
            try await subject.expectAbsent(key)
            try subject.expect(try await subject.store.listAll(prefix: subject.prefix).isEmpty, "list shows it still")
            try await subject.store.delete(key, ifTag: nil)
            try await subject.expectFailure([.notFound, .preconditionFailed], "delete by tag of what is gone") {
                try await subject.store.delete(key, ifTag: receipt.tag)
            }
            try await subject.store.put(key, bytes: [2])
            try await subject.expectContent(key, [2])
        },
        Check("names outside the rule are refused everywhere") { subject in
            let bad = [
                "", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "../a", "a b", "a\nb", "é", "a\0b", "a:b",
                "a%2fb",
            ]
            for key in bad + [String(repeating: "a/", count: 256) + "b"] {
                try await subject.expectFailure([.invalidArgument], "put of \(String(reflecting: key))") {
                    try await subject.store.put(key, bytes: [1])
                }
                try await subject.expectFailure([.invalidArgument], "get of \(String(reflecting: key))") {
                    _ = try await subject.store.get(key, maximumBytes: 1)
                }
                try await subject.expectFailure([.invalidArgument], "head of \(String(reflecting: key))") {
                    _ = try await subject.store.head(key)
                }
                try await subject.expectFailure([.invalidArgument], "delete of \(String(reflecting: key))") {
                    try await subject.store.delete(key, ifTag: nil)
                }
            }
            for prefix in ["/", "a//", "../", "a\n", " "] {
                try await subject.expectFailure([.invalidArgument], "list of \(String(reflecting: prefix))") {
                    _ = try await subject.store.list(prefix: prefix, token: nil)
                }
            }
        },
        Check("odd names within the rule are taken") { subject in
            let room = ObjectKey.maximumBytes - subject.prefix.utf8.count
            let long = String(repeating: String(repeating: "l", count: 99) + "/", count: 6).prefix(room - 1) + "x"
            let names = ["...", ".hidden", "-", "_", "a.b.c", ".tmp/x", "tmp/.tmp", "..a/b", "A/Z", "0"]
            for (index, name) in names.enumerated() {
                try await subject.store.put(subject.key(name), bytes: [UInt8(index)])
            }
            try await subject.store.put(subject.key(String(long)), bytes: [99])
            for (index, name) in names.enumerated() {
                try await subject.expectContent(subject.key(name), [UInt8(index)])
            }
            try await subject.expectContent(subject.key(String(long)), [99])
            let listed = try await subject.store.listAll(prefix: subject.prefix).map(\.key)
            try subject.expect(Set(listed) == Set((names + [String(long)]).map(subject.key)), "listed are \(listed)")
        },
    ]
}
