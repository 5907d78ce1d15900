/// Numbers as a model's weights have them in bfloat16, and as they are after a step of training.
enum TestWeights {
    /// `count` numbers of two bytes whose upper byte varies little.
    static func make(_ count: Int, seed: UInt64) -> [UInt8] {
        var noise = bytes(2 * count, seed: seed)
        for index in stride(from: 1, to: noise.count, by: 2) { noise[index] = 0x3c | noise[index] & 3 }
        return noise
    }

    /// The same after a small step: every 16th number changes in its last bits.
    static func stepped(_ weights: [UInt8], seed: UInt64) -> [UInt8] {
        var next = weights
        let noise = bytes(weights.count / 32 + 1, seed: seed)
        for index in stride(from: 0, to: next.count, by: 32) { next[index] ^= noise[index / 32] & 3 }
        return next
    }
}
