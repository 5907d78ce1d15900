/// A backup's archive on its way to the store: one that was cut short is refused.
///
/// When Velero cannot read its archive to the end it closes the stream as if that were the end, and nothing in the protocol
/// says how long it should have been. But a gzip file ends with the length of its content (RFC 1952, section 2.3.1), and a
/// tar archive is made of blocks of 512 bytes: a stream that was cut anywhere passes once in 512 times. Velero writes its
/// archives as one gzip member around Go's archive/tar, which pads to whole blocks.
actor ArchiveUpload: ObjectUpload {
    private let base: any ObjectUpload
    private let label: String
    private var first: [UInt8] = []
    private var last: [UInt8] = []

    init(_ base: any ObjectUpload, label: String) {
        self.base = base
        self.label = label
    }

    /// Whether the object of that key is such an archive.
    static func isNeeded(_ key: String) -> Bool { key.hasSuffix(".tar.gz") }

    func write(_ bytes: [UInt8]) async throws(VeleroError) {
        if first.count < 2 { first += bytes.prefix(2 - first.count) }
        last = Array((last + bytes.suffix(4)).suffix(4))
        try await base.write(bytes)
    }

    func finish() async throws(VeleroError) {
        // What is no gzip file is not Velero's archive, and none of our business.
        let isGzip = first == [0x1f, 0x8b]
        let isWhole = last.count == 4 && last[0] == 0 && last[1] & 1 == 0
        guard !isGzip || isWhole else {
            await base.abandon()
            throw VeleroError(
                .failed,
                "\(label) is not stored: the archive that came ends in its middle, so Velero could not read it to its end; see Velero's log and the space in its /tmp"
            )
        }
        try await base.finish()
    }

    func abandon() async { await base.abandon() }
}
