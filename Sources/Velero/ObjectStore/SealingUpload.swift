internal import Sealing

/// An object that is encrypted on its way to the store.
actor SealingUpload: ObjectUpload {
    private let base: any ObjectUpload
    private var sealer: ObjectSealer

    init(_ base: any ObjectUpload, key: ObjectEncryptionKey, name: String) throws(VeleroError) {
        self.base = base
        do {
            sealer = try ObjectSealer(key: key, name: name)
        } catch {
            throw Self.failed(error, name)
        }
        self.name = name
    }

    private let name: String

    func write(_ bytes: [UInt8]) async throws(VeleroError) {
        let sealed = try seal { (sealer) throws(SealingError) in try sealer.append(bytes) }
        if !sealed.isEmpty { try await base.write(sealed) }
    }

    func finish() async throws(VeleroError) {
        try await base.write(seal { (sealer) throws(SealingError) in try sealer.finish() })
        try await base.finish()
    }

    func abandon() async { await base.abandon() }

    private func seal(
        _ body: (inout ObjectSealer) throws(SealingError) -> [UInt8]
    ) throws(VeleroError) -> [UInt8] {
        do throws(SealingError) {
            return try body(&sealer)
        } catch {
            throw Self.failed(error, name)
        }
    }

    private static func failed(_ error: SealingError, _ name: String) -> VeleroError {
        VeleroError(.failed, "\(name) cannot be encrypted: \(error)", cause: error)
    }
}
