package import Kubernetes
internal import Snapshots

/// Of a claim: who can mount it, what it is, and the room on its volume.
extension KubernetesObject {
    /// Whether many nodes, one, or one pod may mount it: `ReadWriteMany`, `ReadOnlyMany`, `ReadWriteOnce`,
    /// `ReadWriteOncePod`; empty for what is no claim.
    package var accessModes: [String] { (self["spec", "accessModes"]?.array ?? []).compactMap(\.string) }

    /// Whether it is a block device, without a file system (`volumeMode: Block`): a claim, or a volume.
    package var isBlockVolume: Bool { self["spec", "volumeMode"]?.string == "Block" }

    private static let storagePath: JSONPath = ["spec", "resources", "requests", "storage"]
    private static let limitPath: JSONPath = ["spec", "resources", "limits", "storage"]

    /// What a claim asks for; nil for one that does not say.
    var requestedStorage: Quantity? { self[Self.storagePath]?.string.flatMap { Quantity($0) } }

    /// Has a claim ask for `amount`, unless it asks for as much. Nothing changes for what is no amount.
    package mutating func requestStorage(_ amount: String) throws(JSONPathError) {
        guard let wanted = Quantity(amount) else { return }
        if let asked = requestedStorage, asked >= wanted { return }
        try set(.string(amount), at: Self.storagePath)
        // The server refuses a claim that asks for more than its own limit.
        if let limit = self[Self.limitPath]?.string.flatMap({ Quantity($0) }), limit < wanted {
            try set(.string(amount), at: Self.limitPath)
        }
    }
}

extension Quantity {
    /// What a claim asks for that is to be a device of `bytes` bytes: whole MiB, at least as many.
    package static func device(bytes: UInt64) -> String { "\(bytes / (1 << 20) + (bytes % (1 << 20) == 0 ? 0 : 1))Mi" }
}

extension TreeSize {
    /// An amount that a file system needs for it whose size limits what is written to it: the bytes, 4 KiB for each entry
    /// (the block that its last part takes, its inode), and a sixteenth for the file system's own, in whole MiB.
    var storage: String {
        let (room, overflow) = bytes.addingReportingOverflow(entries &* 4096)
        guard !overflow, room < 1 << 62 else { return "\(UInt64(Int64.max))" }
        let mebibyte: UInt64 = 1 << 20
        return "\((room / 16 * 17 + 2 * mebibyte) / mebibyte)Mi"
    }
}
