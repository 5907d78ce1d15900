/// One of several snapshots that together hold a tree: the part of its files whose paths fall to it, and all directories.
package struct Shard: Codable, Hashable, Sendable, CustomStringConvertible {
    /// From 0.
    package let index: Int
    package let count: Int

    /// Shards of a tree at the most.
    package static let mostShards = 1024

    /// The shard `index` of `count`; nil where there is no such one.
    package init?(index: Int, count: Int) {
        guard (1...Self.mostShards).contains(count), (0..<count).contains(index) else { return nil }
        self.index = index
        self.count = count
    }

    /// As people write it, from 1: `2/3`. Nil for anything else.
    package init?(_ text: String) {
        let numbers = text.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
        guard numbers.count == 2, let number = numbers[0], let count = numbers[1], number > 0 else { return nil }
        self.init(index: number - 1, count: count)
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let (index, count) = (try values.decode(Int.self, forKey: .index), try values.decode(Int.self, forKey: .count))
        guard let shard = Shard(index: index, count: count) else {
            throw DecodingError.dataCorruptedError(forKey: .index, in: values, debugDescription: "no such shard")
        }
        self = shard
    }

    package var description: String { "\(index + 1)/\(count)" }

    /// Whether the file at `path`, its components in the snapshot, falls to this shard. Decided by the path alone, so that
    /// exactly one shard takes a file whatever becomes of it meanwhile; those of one directory are spread over all.
    package func holds(_ path: [[UInt8]]) -> Bool {
        guard count > 1 else { return true }
        // FNV-1a, 64 bits, with the finalizer of MurmurHash3: FNV's low bits alone are those of its bytes.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for name in path {
            for byte in name { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
            hash = (hash ^ UInt64(UInt8(ascii: "/"))) &* 0x100_0000_01b3
        }
        hash = (hash ^ (hash >> 33)) &* 0xff51_afd7_ed55_8ccd
        hash = (hash ^ (hash >> 33)) &* 0xc4ce_b9fe_1a85_ec53
        hash ^= hash >> 33
        return Int(hash % UInt64(count)) == index
    }
}
