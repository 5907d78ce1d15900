/// Reads the keys that a location's configuration names.
struct KeyReader: Sendable {
    let secrets: any SecretSource

    /// The keys that a location's objects are encrypted with; nil when it has none. Throws what `read` throws, and
    /// `invalidArgument` for what is no key.
    func keyring(_ configuration: ObjectStoreConfiguration) async throws(VeleroError) -> ObjectKeyring? {
        guard let current = configuration.encryptionKey else { return nil }
        let key = try await encryptionKey(current, "the encryption key")
        var previous: [ObjectEncryptionKey] = []
        for source in configuration.previousEncryptionKeys {
            previous.append(try await encryptionKey(source, "a previous encryption key"))
        }
        return ObjectKeyring(key, previous: previous)
    }

    private func encryptionKey(_ source: KeySource, _ setting: String) async throws(VeleroError) -> ObjectEncryptionKey
    {
        let content = try await read(source, for: setting)
        do throws(SealedObjectError) {
            return try ObjectEncryptionKey(content, source: "\(source)")
        } catch {
            throw VeleroError(.invalidArgument, "\(setting): \(error)", cause: error)
        }
    }

    /// The bytes of a key; `setting` is what it is for, for messages.
    func read(_ source: KeySource, for setting: String) async throws(VeleroError) -> [UInt8] {
        switch source {
        case .file(let path): return try await KeyFile.read(path, "\(setting): the file")
        case .secret(let name, let key):
            do throws(VeleroError) {
                return try await secrets.value(ofSecret: name, key: key)
            } catch {
                var error = error
                error.message = "\(setting): \(error.message)"
                throw error
            }
        }
    }
}
