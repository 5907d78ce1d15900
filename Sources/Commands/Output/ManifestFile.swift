internal import Basics
internal import ObjectStorage
internal import Orchestration
internal import Synchronization

/// A file that gets its name only once it is whole. `append` blocks: call it from a thread of ours.
final class ManifestFile: Sendable {
    private let target: [UInt8]
    private let temporary: [UInt8]
    private let descriptor = Mutex<CInt?>(nil)

    init(_ target: [UInt8]) {
        self.target = target
        temporary = target + Array(".\(CapabilityProbe.randomName()).tmp".utf8)
    }

    /// Adds bytes; the first ones make the file.
    func append(_ bytes: [UInt8]) throws(JourneyError) {
        let open: CInt
        if let present = descriptor.withLock({ $0 }) {
            open = present
        } else {
            open = try SystemFiles.create(temporary, as: target)
            descriptor.withLock { $0 = open }
        }
        if let reason = SystemFiles.writeAll(bytes, to: open) { throw SystemFiles.writeFailure(target, reason) }
    }

    /// Runs the last step on a thread that may block.
    func end(_ step: @escaping @Sendable (ManifestFile) throws -> Void) async throws {
        try await BlockingBridge.offload(name: "becalm-manifest") { Result { try step(self) } }
    }

    /// Gives the file its name. An empty manifest is an empty file.
    func commit() throws(JourneyError) {
        try append([])
        try close()
        try SystemFiles.rename(temporary, to: target)
    }

    /// Removes what was written.
    func discard() {
        // What could not be closed is of no use to anybody: it goes.
        try? close()
        SystemFiles.remove(temporary)
    }

    private func close() throws(JourneyError) {
        let open = descriptor.withLock { descriptor in
            defer { descriptor = nil }
            return descriptor
        }
        if let open, !SystemFiles.closeWritten(open) { throw SystemFiles.writeFailure(target) }
    }
}
