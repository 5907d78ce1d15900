/// FNV-1a of 64 bits: a short name for a long text, the same in every process and on every machine. Not for what an
/// attacker may choose.
enum StableHash {
    static func hex(_ bytes: some Sequence<UInt8>) -> String {
        let hash = bytes.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return String(hash, radix: 16)
    }
}
